//! Adds mounts to the RUN steps of a Dockerfile. A mounted file exists during its
//! step and is in no layer.

use super::lines;

/// A file to mount.
pub struct Mount {
    /// Its path in the container.
    pub target: String,
    /// The id of the secret that holds its content.
    pub id: String,
    /// A step that contains this text gets no mount: it writes the file itself,
    /// and a mounted file can't be replaced.
    pub unless: &'static str,
}

/// The same text with these mounts in each RUN, on the same lines. A Dockerfile
/// that can't be parsed is returned as it is, and BuildKit reports the error.
pub fn with_mounts(text: &[u8], mounts: &[Mount]) -> Vec<u8> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let Ok(parsed) = lines::parse(text, true) else { return text.to_vec() };
    let mut runs = parsed.statements.iter().filter(|it| it.keyword.eq_ignore_ascii_case("run")).peekable();
    let mut result = Vec::with_capacity(text.len());
    for (at, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let Some(run) = runs.next_if(|run| run.line == at + 1) else {
            result.extend_from_slice(line);
            continue;
        };
        let (before, behind) = line.split_at(line.len().min(run.column + 2));
        result.extend_from_slice(before);
        // Not if the word continues on the next line.
        if before.to_ascii_lowercase().ends_with(b"run") {
            let heredocs = run.heredocs.iter().map(|heredoc| heredoc.content.as_str());
            let words: Vec<&str> = heredocs.chain([run.whole.as_str()]).collect();
            for Mount { target, id, unless } in mounts {
                // A mount that the project itself has at this path wins.
                let is_theirs = |flag: &String| {
                    flag.split(',').any(|part| part.split_once('=').is_some_and(|(_, value)| value == target))
                };
                if !run.flags.iter().any(is_theirs) && !words.iter().any(|words| words.contains(unless)) {
                    result.extend(format!(" --mount=type=secret,id={id},target={target},mode=0444").bytes());
                }
            }
            if !behind.first().is_some_and(u8::is_ascii_whitespace) {
                result.push(b' ');
            }
        }
        result.extend_from_slice(behind);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts() -> Vec<Mount> {
        let mount = |(target, id): (&str, &str)| Mount { target: target.into(), id: id.into(), unless: "certificates" };
        let mut mounts = [("/ca", "a"), ("/pip", "b")].map(mount);
        mounts[1].unless = "pip.conf";
        mounts.into()
    }

    fn row(text: &str) -> String {
        let result = String::from_utf8(with_mounts(text.as_bytes(), &mounts())).unwrap();
        result
            .replace("--mount=type=secret,id=a,target=/ca,mode=0444", "A")
            .replace("--mount=type=secret,id=b,target=/pip,mode=0444", "B")
    }

    #[test]
    fn each_run_sees_them_and_nothing_else_changes() {
        for (text, expected) in [
            ("FROM a\nRUN make\n", "FROM a\nRUN A B make\n"),
            ("FROM a\n  run make", "FROM a\n  run A B make"),
            ("FROM a\nRUN\tmake\nRUN [\"make\"]\n", "FROM a\nRUN A B\tmake\nRUN A B [\"make\"]\n"),
            ("FROM a\nRUN \\\n  make\n", "FROM a\nRUN A B \\\n  make\n"),
            ("FROM a\nRUN\\\n make\n", "FROM a\nRUN A B \\\n make\n"),
            ("FROM a\nRUN <<EOF\nRUN x\nEOF\nRUN y\n", "FROM a\nRUN A B <<EOF\nRUN x\nEOF\nRUN A B y\n"),
            ("FROM a\nCOPY <<EOF /x\nRUN x\nEOF\n", "FROM a\nCOPY <<EOF /x\nRUN x\nEOF\n"),
            ("FROM a\nRUN echo \\\nRUN x\n", "FROM a\nRUN A B echo \\\nRUN x\n"),
            ("FROM a\nRU\\\nN make\n", "FROM a\nRU\\\nN make\n"),
            ("FROM a\nONBUILD RUN x\n# RUN y\nCMD RUN\n", "FROM a\nONBUILD RUN x\n# RUN y\nCMD RUN\n"),
            ("# escape=`\nFROM a\nRUN x `\n y\n", "# escape=`\nFROM a\nRUN A B x `\n y\n"),
            ("\u{feff}FROM a\r\nRUN x\r\n", "FROM a\r\nRUN A B x\r\n"),
            // A step keeps its own mount at this path.
            (
                "FROM a\nRUN --mount=type=secret,id=mine,target=/ca x\n",
                "FROM a\nRUN B --mount=type=secret,id=mine,target=/ca x\n",
            ),
            (
                "FROM a\nRUN --mount=type=bind,dst=/ca,src=. --mount=type=cache,target=/pip x\n",
                "FROM a\nRUN --mount=type=bind,dst=/ca,src=. --mount=type=cache,target=/pip x\n",
            ),
            ("FROM a\nRUN --mount=type=cache,target=/ca2 x\n", "FROM a\nRUN A B --mount=type=cache,target=/ca2 x\n"),
            // A step that writes the file gets no mount.
            (
                "FROM a\nRUN apt-get install \\\n ca-certificates\n",
                "FROM a\nRUN B apt-get install \\\n ca-certificates\n",
            ),
            ("FROM a\nRUN <<EOF\ncp x /etc/pip.conf\nEOF\n", "FROM a\nRUN A <<EOF\ncp x /etc/pip.conf\nEOF\n"),
            ("FROM a\nRUN <<EOF\n", "FROM a\nRUN <<EOF\n"),
            ("", ""),
        ] {
            assert_eq!(row(text), expected, "{text:?}");
        }
        assert_eq!(with_mounts(b"FROM a\n# \xe9\nRUN x", &[]), b"FROM a\n# \xe9\nRUN x");
    }
}
