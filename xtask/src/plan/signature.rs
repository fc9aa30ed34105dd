//! How signatures are asked for, as commands.

use camino::Utf8PathBuf;

use crate::plan::step::Step;

/// Who must have signed an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The owner of the key that belongs to this public one.
    Key(Utf8PathBuf),
    /// Whoever has a certificate for this identity, by this issuer.
    Identity {
        /// Such as a workflow's address.
        identity: String,
        /// Who vouches for it.
        issuer: String,
    },
}

/// Asks cosign for the signatures of an image. What is signed by a key needs no
/// log of anybody's: then nobody but the registry is asked.
pub fn verify(cosign: &str, signer: &Signer, image: &str) -> Step {
    let step = Step::new(cosign).arg("verify");
    let step = match signer {
        Signer::Key(file) => step.args(["--key", file.as_str(), "--insecure-ignore-tlog=true"]),
        Signer::Identity { identity, issuer } => {
            step.args(["--certificate-identity", identity, "--certificate-oidc-issuer", issuer])
        }
    };
    step.args(["--output", "json", image]).of_digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_needs_no_log_and_an_identity_needs_its_issuer() {
        let line = |signer: &Signer| verify("cosign", signer, "r.io/a@{digest}").on("sha256:a").to_string();
        assert_eq!(
            line(&Signer::Key("my key.pub".into())),
            "cosign verify --key 'my key.pub' --insecure-ignore-tlog=true --output json r.io/a@sha256:a"
        );
        assert_eq!(
            line(&Signer::Identity { identity: "https://x/y@z".into(), issuer: "https://i".into() }),
            "cosign verify --certificate-identity https://x/y@z --certificate-oidc-issuer https://i --output json r.io/a@sha256:a"
        );
    }
}
