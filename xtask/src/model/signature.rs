//! Whether an image is signed, by what cosign says of it.
//!
//! cosign ends with 0 also for an image that has nothing but an attestation by
//! the right key. So its exit code is not enough: there must be an entry of a
//! signature's own type, for the very digest that was asked for.

use serde::Deserialize;

/// The types of signatures: cosign 3's, and the older "simple signing".
const SIGNATURES: [&str; 2] = ["https://sigstore.dev/cosign/sign/v1", "cosign container image signature"];

/// What is known of the signatures of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signed {
    /// So many signatures of it are valid.
    Verified(usize),
    /// None is, and why.
    Not(String),
}

/// What one entry of cosign's answer says.
#[derive(Deserialize)]
struct Entry {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Judges what `cosign verify --output json` wrote, where it ended with 0.
pub fn judge(answer: &str, digest: &str) -> Signed {
    let entries: Vec<Entry> = match serde_json::from_str(answer.trim()) {
        Ok(entries) => entries,
        Err(why) => return Signed::Not(format!("cosign's answer can't be read: {why}")),
    };
    let (signatures, others): (Vec<&Entry>, Vec<&Entry>) =
        entries.iter().partition(|entry| SIGNATURES.contains(&entry.critical.kind.as_str()));
    let valid = signatures.iter().filter(|entry| entry.critical.image.digest == digest).count();
    match (valid, signatures.first(), others.first()) {
        (1.., ..) => Signed::Verified(valid),
        (_, Some(other), _) => Signed::Not(format!("the signature is for {}", other.critical.image.digest)),
        (_, _, Some(other)) => {
            Signed::Not(format!("there is an attestation ({}) and no signature", other.critical.kind))
        }
        _ => Signed::Not("there is no signature".into()),
    }
}

/// Why there is no signature, by what cosign said where it failed.
pub fn refused(said: &str) -> Signed {
    let last = said.lines().rev().find_map(|line| line.strip_prefix("Error: "));
    let last = last.or_else(|| said.lines().rev().find(|line| !line.trim().is_empty()));
    Signed::Not(last.map_or_else(|| "cosign does not say why".into(), |why| why.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "https://sigstore.dev/cosign/sign/v1";
    const OLD: &str = "cosign container image signature";
    const SBOM: &str = "https://spdx.dev/Document";

    fn entry(kind: &str, digest: &str) -> String {
        format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"r.io/a@{digest}"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"{kind}"}},"optional":{{}}}}"#
        )
    }

    #[test]
    fn verified_is_an_entry_of_a_signatures_type_for_that_digest() {
        let (a, b) = ("sha256:a", "sha256:b");
        for (entries, expected) in [
            (vec![(NEW, a)], Ok(1)),
            (vec![(OLD, a)], Ok(1)),
            (vec![(SBOM, a), (NEW, a), (OLD, a)], Ok(2)),
            (vec![(NEW, b), (NEW, a)], Ok(1)),
            (vec![(SBOM, a)], Err("an attestation (https://spdx.dev/Document) and no signature")),
            (vec![(NEW, b)], Err("the signature is for sha256:b")),
            (vec![(SBOM, a), (OLD, b)], Err("the signature is for sha256:b")),
            (vec![("", a)], Err("an attestation () and no signature")),
            (vec![(NEW, "sha256:aa")], Err("the signature is for sha256:aa")),
            (vec![(NEW, "")], Err("the signature is for ")),
            (vec![], Err("there is no signature")),
        ] {
            let text = entries.iter().map(|(kind, digest)| entry(kind, digest)).collect::<Vec<_>>().join(",");
            match (judge(&format!("\n[{text}]\n"), a), expected) {
                (Signed::Verified(found), Ok(count)) => assert_eq!(found, count, "{entries:?}"),
                (Signed::Not(why), Err(words)) => assert!(why.contains(words), "{entries:?}: {why}"),
                (found, _) => panic!("{entries:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn an_answer_that_is_no_list_of_entries_verifies_nothing() {
        let one = entry(NEW, "sha256:a");
        for text in ["", "null", "{}", "Verified OK", "[{}]", &one, &format!("[{one}"), &format!("[{one}] x")] {
            let Signed::Not(why) = judge(text, "sha256:a") else { panic!("{text}") };
            assert!(why.starts_with("cosign's answer can't be read"), "{why}");
        }
    }

    #[test]
    fn where_cosign_fails_its_last_error_is_the_reason() {
        for (said, why) in [
            ("WARNING: x\nError: no signatures found\nerror during command execution: no", "no signatures found"),
            ("Error: first\nError: second \n", "second"),
            ("only this\n \n", "only this"),
            ("\n", "cosign does not say why"),
        ] {
            assert_eq!(refused(said), Signed::Not(why.into()), "{said:?}");
        }
    }
}
