//! A registry on loopback, and somebody on the way to it who does wrong.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::demo::Demo;
use super::{docker, exit};

/// Debian's docker-registry, out of the demo project, in a container.
pub struct Registry {
    /// `HOST:PORT`.
    pub at: String,
    container: String,
}

impl Registry {
    /// Starts one; the project's own clean-up removes its image.
    pub fn new(demo: &Demo) -> Self {
        exit(&demo.run(&["docker", "registry"]), 0);
        let container = format!("{}-server", demo.name);
        let label = format!("{}.run=up", demo.name);
        let image = format!("{}-registry:local", demo.name);
        let run = ["run", "--detach", "--name", &container, "--label", &label, "--publish", "127.0.0.1::5000", &image];
        docker(&run);
        let at = docker(&["port", &container, "5000"]).trim().to_owned();
        let started = Instant::now();
        while TcpStream::connect(&at).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "{}", docker(&["logs", &container]));
            thread::sleep(Duration::from_millis(50));
        }
        Self { at, container }
    }

    /// Its answer: the head and the body.
    pub fn ask(&self, method: &str, path: &str, headers: &str) -> (String, String) {
        let answer = super::ask(&self.at, &format!("{method} /v2/{path}"), headers, "");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        (head.to_owned(), body.to_owned())
    }

    /// The tags of a repository, in order.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let (_, body) = self.ask("GET", &format!("{repository}/tags/list"), "");
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        let tags = answer["tags"].as_array().cloned().unwrap_or_default();
        let mut tags: Vec<String> = tags.iter().map(|tag| tag.as_str().unwrap().to_owned()).collect();
        tags.sort();
        tags
    }

    /// What a tag is on, or none.
    pub fn digest(&self, repository: &str, tag: &str) -> Option<String> {
        let (head, _) = self.ask("HEAD", &format!("{repository}/manifests/{tag}"), ACCEPT);
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("docker-content-digest").then(|| value.trim().to_owned())
        };
        head.lines().find_map(field)
    }

    /// An index or a manifest.
    pub fn manifest(&self, repository: &str, reference: &str) -> serde_json::Value {
        let (head, body) = self.ask("GET", &format!("{repository}/manifests/{reference}"), ACCEPT);
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {head}"))
    }
}

const ACCEPT: &str =
    "Accept: application/vnd.oci.image.index.v1+json\r\nAccept: application/vnd.oci.image.manifest.v1+json\r\n";

impl Drop for Registry {
    fn drop(&mut self) {
        docker(&["rm", "--force", "--volumes", &self.container]);
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// The registry answers it.
    Passes,
    /// This is the answer.
    Is(&'static str),
    /// The connection ends.
    IsCut,
    /// Nobody ever answers.
    Hangs,
}

/// Somebody between a client and a registry.
pub struct Between {
    /// `HOST:PORT`.
    pub at: String,
    ends: Arc<AtomicBool>,
}

impl Between {
    /// `treat` decides by the first line of each request.
    pub fn new(registry: &str, treat: impl Fn(&str) -> Treatment + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let ends = Arc::new(AtomicBool::new(false));
        let (registry, treat, until) = (registry.to_owned(), Arc::new(treat), Arc::clone(&ends));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if until.load(Ordering::Relaxed) {
                    break;
                }
                let (registry, treat) = (registry.clone(), Arc::clone(&treat));
                thread::spawn(move || serve(stream, &registry, &*treat));
            }
        });
        Self { at, ends }
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.at);
    }
}

/// One request of a connection, which ends with its answer.
fn serve(mut client: TcpStream, registry: &str, treat: &impl Fn(&str) -> Treatment) {
    let mut head: Vec<u8> = Vec::new();
    let mut buffer = [0; 4096];
    let end = loop {
        match client.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(n) => head.extend(&buffer[..n]),
        }
        // Clients try TLS first, on loopback too, until they hear that there is none.
        if !head[0].is_ascii_uppercase() {
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
            return;
        }
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
    };
    let text = String::from_utf8_lossy(&head[..end]).into_owned();
    let close = "Content-Length: 0\r\nConnection: close\r\n\r\n";
    match treat(text.lines().next().unwrap_or_default()) {
        Treatment::IsCut => {}
        Treatment::Hangs => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        Treatment::Is(answer) => {
            // All of what it sends is taken, or it sees no answer.
            let _ = client.set_read_timeout(Some(Duration::from_millis(300)));
            let _ = client.write_all(format!("HTTP/1.1 {answer}\r\n{close}").as_bytes());
            let _ = client.shutdown(Shutdown::Write);
            while matches!(client.read(&mut buffer), Ok(1..)) {}
        }
        Treatment::Passes => {
            let Ok(mut server) = TcpStream::connect(registry) else { return };
            let lines: Vec<&str> =
                text.lines().filter(|line| !line.to_lowercase().starts_with("connection:")).collect();
            let first = format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"));
            if server.write_all(first.as_bytes()).is_err() || server.write_all(&head[end + 4..]).is_err() {
                return;
            }
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
            });
            let _ = std::io::copy(&mut server, &mut client);
            let _ = client.shutdown(Shutdown::Both);
        }
    }
}
