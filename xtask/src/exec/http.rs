//! HTTP/1.0 over any stream: a Unix socket, `docker system dial-stdio`, a
//! loopback port.
//!
//! It is a hundred lines, because the crates that speak HTTP over a Unix socket
//! need an async runtime. It is version 1.0, because then the answer ends with
//! the stream: no chunks, no keep-alive.
//!
//! Each request has a [`Route`], from which no text can break out: behind the
//! engine's socket is root.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::exec::child::TICK;
use crate::model::diagnostic::Diagnostic;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body, up to the end of the stream.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text, for people.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_owned()
    }
}

/// A path and a query. Each part that is inserted stays one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route(String);

impl Route {
    /// `/a/b/c` from its segments. An empty segment, `.` and `..` are replaced,
    /// because a server would remove them and answer for another path.
    pub fn new(segments: &[&str]) -> Self {
        let names = |segment: &&str| !matches!(*segment, "" | "." | "..");
        let segments = segments.iter().map(|segment| match Some(segment).filter(|it| names(it)) {
            Some(segment) => format!("/{}", encoded(segment)),
            None => "/%00".to_owned(),
        });
        Self(segments.collect())
    }

    /// Adds `key=value` to the query.
    #[must_use]
    pub fn query(mut self, key: &str, value: &str) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(&format!("{}={}", encoded(key), encoded(value)));
        self
    }

    /// The path for people, without the long query.
    pub fn path(&self) -> &str {
        self.0.split('?').next().unwrap_or_default()
    }

    /// A path and query as somebody wrote them: sent unchanged, or refused.
    pub fn written(path: &str) -> Result<Self, Diagnostic> {
        if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(path.to_owned()));
        }
        Err(format!("{path:?} is not a path for a request: expected `/`, then letters, digits and signs of ASCII")
            .into())
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Percent-encodes all characters but those without any special meaning in a URL.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The limits for an answer.
#[derive(Clone, Copy, Debug)]
pub struct ResponseLimits {
    /// How long it may take in total.
    pub time: Duration,
    /// How large it may be.
    pub bytes: usize,
}

/// Opens a stream, sends `GET route` and reads the whole answer, all on a thread
/// of its own. So neither a server that accepts nobody nor one that never ends
/// its answer can block us. If `stop` returns true, the error is `Interrupted`.
pub fn get<S: Read + Write>(
    open: impl FnOnce() -> io::Result<S> + Send + 'static,
    host: &str,
    route: &Route,
    bounds: ResponseLimits,
    stop: impl Fn() -> bool,
) -> io::Result<Response> {
    let request = request(host, route)?;
    let (to, chunks) = sync_channel(16);
    thread::spawn(move || {
        if let Err(error) = open().and_then(|stream| talk(stream, &request, &to)) {
            let _ = to.send(Err(error));
        }
    });
    let started = Instant::now();
    let mut bytes = Vec::new();
    loop {
        let mut is_late = started.elapsed() > bounds.time;
        match chunks.recv_timeout(TICK) {
            // The time limit of the stream may expire just before ours.
            Ok(Err(error)) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                is_late = true;
            }
            Ok(chunk) => bytes.extend(chunk?),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if bytes.len() > bounds.bytes {
            let what = format!("the answer has more than {} bytes", bounds.bytes);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
        }
        if is_late {
            let seconds = bounds.time.as_secs_f32();
            let what = match bytes.len() {
                0 => format!("no answer within {seconds} s"),
                n => format!("the answer did not end within {seconds} s; {n} bytes of it arrived"),
            };
            return Err(io::Error::new(io::ErrorKind::TimedOut, what));
        }
        if stop() {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    parse(&bytes)
}

/// The bytes of exactly one request. Whatever the route was made from, a blank, a
/// control character or a non-ASCII character is refused here.
fn request(host: &str, route: &Route) -> io::Result<Vec<u8>> {
    let graphic = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !graphic(host) || !graphic(&route.0) || !route.0.starts_with('/') {
        let what = format!("{:?} on {host:?} can't be requested", route.0);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(format!("GET {route} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n").into_bytes())
}

fn talk(mut stream: impl Read + Write, request: &[u8], to: &SyncSender<io::Result<Vec<u8>>>) -> io::Result<()> {
    // In one write, because a server may answer and close after the first packet.
    stream.write_all(request)?;
    stream.flush()?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            // The caller has stopped waiting.
            Ok(n) if to.send(Ok(buffer[..n].to_vec())).is_err() => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
}

fn parse(bytes: &[u8]) -> io::Result<Response> {
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let start = || String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
    if bytes.is_empty() {
        return Err(wrong("the connection was closed without an answer".into()));
    }
    let (head, body) = split(bytes).ok_or_else(|| wrong(format!("the answer is not HTTP; it begins {:?}", start())))?;
    let status = status(head).ok_or_else(|| wrong(format!("the answer is not HTTP; it begins {:?}", start())))?;
    match length(head) {
        Some(length) if body.len() < length => {
            Err(wrong(format!("the answer broke off after {} of {length} bytes", body.len())))
        }
        _ => Ok(Response { status, body: body.to_vec() }),
    }
}

fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 4..]))
}

fn status(head: &str) -> Option<u16> {
    let mut words = head.lines().next()?.split(' ');
    match (words.next()?, words.next()?) {
        (version, status) if version.starts_with("HTTP/1.") => status.parse().ok(),
        _ => None,
    }
}

fn length(head: &str) -> Option<usize> {
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    };
    head.lines().skip(1).find_map(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cases::cases;
    use arbtest::arbitrary::Unstructured;
    use std::os::unix::net::UnixStream;

    const BOUNDS: ResponseLimits = ResponseLimits { time: Duration::from_secs(60), bytes: 1000 };

    fn answer(bytes: &[u8]) -> Result<(u16, String), String> {
        parse(bytes).map(|it| (it.status, it.text())).map_err(|error| error.to_string())
    }

    #[test]
    fn an_answer_is_status_and_body_or_what_is_wrong_with_it() {
        for (bytes, expected) in [
            (&b"HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\n{\"x\":1}\r\n"[..], Ok((503, "{\"x\":1}"))),
            (b"HTTP/1.0 200 OK\r\ncontent-LENGTH: 2\r\n\r\nOK", Ok((200, "OK"))),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n{\"a\"", Err("the answer broke off after 4 of 9 bytes")),
            (b"", Err("the connection was closed without an answer")),
            (b"HTTP/1.1 200", Err("the answer is not HTTP; it begins \"HTTP/1.1 200\"")),
            (b"HTTP/1.1 x\r\n\r\n", Err("the answer is not HTTP; it begins \"HTTP/1.1 x\\r\\n\\r\\n\"")),
            (b"SSH-2.0\x1b\r\n\r\n", Err("the answer is not HTTP; it begins \"SSH-2.0\\u{1b}\\r\\n\\r\\n\"")),
        ] {
            assert_eq!(answer(bytes), expected.map(|(a, b)| (a, b.to_owned())).map_err(str::to_owned));
        }
        cases(500, |u| {
            let bytes: Vec<u8> = u.arbitrary()?;
            let _ = parse(&bytes);
            Ok(())
        });
    }

    #[test]
    fn pieces_are_encoded_and_places_that_are_none_are_never_asked_for() {
        for (route, expected) in [
            (Route::new(&["images", "127.0.0.1:5000", "n:1", "json"]), "/images/127.0.0.1%3A5000/n%3A1/json"),
            (Route::new(&["a"]).query("filters", "{\"a.b\":[1]}"), "/a?filters=%7B%22a.b%22%3A%5B1%5D%7D"),
            (Route::new(&["a"]).query("x", "1").query("y", "2&z=3"), "/a?x=1&y=2%26z%3D3"),
            (Route::new(&["a/b", "c?d#e", "%2e", "ü\r\n"]), "/a%2Fb/c%3Fd%23e/%252e/%C3%BC%0D%0A"),
            (Route::new(&["a", "..", ".", "", "json"]), "/a/%00/%00/%00/json"),
        ] {
            assert_eq!(route.to_string(), expected);
            assert_eq!(Some(route.path()), expected.split('?').next());
        }
        for path in ["", "x", "/a b", "/a\r\nGET /b", "/ü", "/\t", "/\u{7f}", "http://x/"] {
            assert!(Route::written(path).is_err(), "{path:?}");
        }
        assert_eq!(Route::written("/health?deep=1").unwrap().to_string(), "/health?deep=1");
    }

    /// What a server reads from these bytes: the segments of the path and the
    /// pairs of the query; nothing if it is not exactly one request.
    fn understood(bytes: &[u8]) -> Option<(Vec<String>, Vec<String>)> {
        let decode = |text: &str| {
            let (mut out, mut rest) = (Vec::new(), text.bytes());
            while let Some(byte) = rest.next() {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                out.push(if byte == b'%' { (digit(rest.next())? * 16 + digit(rest.next())?) as u8 } else { byte });
            }
            String::from_utf8(out).ok()
        };
        let text = std::str::from_utf8(bytes).ok()?;
        let [line, host, close, "", ""] = text.split("\r\n").collect::<Vec<_>>()[..] else { return None };
        let ["GET", target, "HTTP/1.0"] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
        if host.split(' ').count() != 2 || close != "Connection: close" || text.contains(['\0', '\t']) {
            return None;
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let segments = path.strip_prefix('/')?.split('/').map(decode).collect::<Option<_>>()?;
        let words = query.split(['&', '=']).filter(|_| target.contains('?')).map(decode).collect::<Option<_>>()?;
        Some((segments, words))
    }

    #[test]
    fn whatever_is_handed_in_one_request_goes_out_that_means_it_or_none() {
        let hostile = [
            "\r\n\r\nDELETE /x HTTP/1.0\r\n\r\n",
            "\n",
            "\r",
            " ",
            "\0",
            "%0d%0a",
            "..",
            "?",
            "#",
            "&=",
            "é",
            "\u{85}\u{2028}",
        ];
        cases(2000, |u| {
            let text = |u: &mut Unstructured<'_>| -> arbtest::arbitrary::Result<String> {
                let mut text = String::new();
                for _ in 0..u.int_in_range(0..=3)? {
                    text.push_str(if u.arbitrary()? { u.choose(&hostile)? } else { u.arbitrary::<&str>()? });
                }
                Ok(text)
            };
            let pieces = [text(u)?, text(u)?, text(u)?];
            let names =
                |piece: &String| if ["", ".", ".."].contains(&piece.as_str()) { "\0".into() } else { piece.clone() };
            let segments: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let pair = [text(u)?, text(u)?];
            let route = Route::new(&segments).query(&pair[0], &pair[1]);
            let sent = request("docker", &route).unwrap();
            assert_eq!(understood(&sent), Some((pieces.iter().map(names).collect(), pair.to_vec())), "{route}");
            // A raw route, which only this module can make.
            let raw = format!("{}{}", if u.arbitrary()? { "/" } else { "" }, pieces.concat());
            for (host, route) in [("docker", Route(raw.clone())), (&raw, Route::new(&["x"]))] {
                if let Ok(sent) = request(host, &route) {
                    let lines = String::from_utf8(sent).unwrap();
                    assert_eq!(
                        (lines.matches("\r\n").count(), lines.matches(['\r', '\n']).count()),
                        (4, 8),
                        "{lines:?}"
                    );
                    assert_eq!((lines.matches(' ').count(), lines.is_ascii()), (4, true), "{lines:?}");
                }
            }
            assert_eq!(Route::written(&raw).is_ok(), request("docker", &Route(raw.clone())).is_ok(), "{raw:?}");
            Ok(())
        });
    }

    /// A server with this behaviour, and the error that it causes.
    fn served(
        serve: impl FnOnce(UnixStream) + Send + 'static,
        bounds: ResponseLimits,
        stop: bool,
    ) -> io::Result<Response> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::spawn(move || serve(theirs));
        get(|| Ok(ours), "docker", &Route::new(&["x"]), bounds, || stop)
    }

    #[test]
    fn no_server_holds_us() {
        let short = ResponseLimits { time: Duration::from_millis(100), ..BOUNDS };
        let silent = |stream| {
            thread::sleep(Duration::from_secs(3600));
            drop::<UnixStream>(stream);
        };
        let drip = |mut stream: UnixStream| {
            while stream.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        };
        let flood = |mut stream: UnixStream| while stream.write_all(&[b'x'; 10_000]).is_ok() {};
        assert_eq!(served(silent, short, false).unwrap_err().to_string(), "no answer within 0.1 s");
        let (early, _held) = UnixStream::pair().unwrap();
        early.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let error = get(|| Ok(early), "docker", &Route::new(&["x"]), short, || false).unwrap_err();
        assert_eq!(error.to_string(), "no answer within 0.1 s");
        assert_eq!(served(drip, short, false).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(served(flood, BOUNDS, false).unwrap_err().to_string(), "the answer has more than 1000 bytes");
        assert_eq!(served(silent, BOUNDS, true).unwrap_err().kind(), io::ErrorKind::Interrupted);
        let closed = served(drop::<UnixStream>, BOUNDS, false).unwrap_err();
        assert_ne!(closed.kind(), io::ErrorKind::TimedOut);
        let never = || -> io::Result<UnixStream> {
            thread::sleep(Duration::from_secs(3600));
            Err(io::ErrorKind::Other.into())
        };
        let error = get(never, "docker", &Route::new(&["x"]), short, || false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
