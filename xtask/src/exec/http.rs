//! HTTP/1.0 over any stream: a Unix socket, `docker system dial-stdio`, a
//! loopback port.
//!
//! Forty lines, because the crates that speak HTTP over a Unix socket bring an
//! async runtime. 1.0, because the answer then ends where the stream ends:
//! no chunks, no keep-alive.

use std::io::{self, Read, Write};

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body, to the end of the stream.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text, for people.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_owned()
    }
}

/// Sends `GET path` and reads the whole answer.
pub fn get(mut stream: impl Read + Write, host: &str, path: &str) -> io::Result<Response> {
    // In one write: a server may answer, and close, after the first it sees.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())?;
    stream.flush()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer"))
}

/// Percent-encoding of a query value.
pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn parse(bytes: &[u8]) -> Option<Response> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut words = head.lines().next()?.split(' ');
    let status = match (words.next()?, words.next()?) {
        (version, status) if version.starts_with("HTTP/1.") => status.parse().ok()?,
        _ => return None,
    };
    Some(Response { status, body: bytes[end + 4..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_status_and_body() {
        let answer = parse(b"HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\n{\"x\":1}\r\n").unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (503, "{\"x\":1}"));
    }

    #[test]
    fn half_an_answer_is_none_and_never_a_panic() {
        arbtest::arbtest(|u| {
            let bytes: Vec<u8> = u.arbitrary()?;
            let _ = parse(&bytes);
            Ok(())
        });
        for bytes in [&b""[..], b"HTTP/1.1 200", b"HTTP/1.1 x\r\n\r\n", b"SSH-2.0\r\n\r\n"] {
            assert_eq!(parse(bytes), None);
        }
    }

    #[test]
    fn a_filter_is_encoded_for_a_query() {
        assert_eq!(encoded("{\"a.b\":[1]}"), "%7B%22a%2Eb%22%3A%5B1%5D%7D");
    }
}
