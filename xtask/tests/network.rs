//! The private engine's rules, with real packets: two of its networks, the
//! host, and two neighbours, each in a network namespace of its own. The host
//! is one, too, so nothing of this machine is touched.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use xtask::engine::EngineFolder;
use xtask::engine::network::{self, EngineNetwork};
use xtask::exec::files::Temporary;

const TEST: &str = "packets_get_out_and_nothing_new_gets_in";
/// What this process is to be: the test starts itself in other namespaces.
const ROLE: &str = "XTASK_TEST_ROLE";
const PORT: u16 = 7;

fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", common::stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn itself(before: &[String], role: &str) -> Command {
    let exe = std::env::current_exe().unwrap();
    let mut words = before.iter().cloned().chain([exe.to_str().unwrap().to_owned()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(["--ignored", "--exact", TEST, "--nocapture"]).env(ROLE, role);
    command
}

/// A network namespace, there for as long as a process in it.
struct Place(Child, Vec<Child>);

impl Place {
    fn new() -> Self {
        let child = Command::new("unshare").args(["--net", "sleep", "600"]).spawn().unwrap();
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let is_there = || std::fs::read_link(format!("/proc/{}/ns/net", child.id())).is_ok_and(|it| it != own);
        while !is_there() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Self(child, Vec::new())
    }

    fn inside(&self) -> Vec<String> {
        ["nsenter", "-t", &self.0.id().to_string(), "-n"].map(str::to_owned).to_vec()
    }

    /// Joins it to the host by a cable whose host end is `name`; `at` is the
    /// bridge that this goes to, or the host's own address.
    fn join(&mut self, name: &str, at: &str, address: &str, gateway: &str) {
        let pid = self.0.id();
        sh(&format!("ip link add {name} type veth peer name eth0 netns {pid} && ip link set {name} up"));
        if at.contains('/') {
            sh(&format!("ip addr add {at} dev {name}"));
        } else {
            sh(&format!("ip link set {name} master {at}"));
        }
        let inside = self.inside().join(" ");
        for line in ["link set lo up", &format!("addr add {address}/24 dev eth0"), "link set eth0 up"] {
            sh(&format!("{inside} ip {line}"));
        }
        sh(&format!("{inside} ip route add default via {gateway}"));
        self.1.push(listen(&self.inside()));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for child in self.1.iter_mut().chain([&mut self.0]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn listen(inside: &[String]) -> Child {
    let mut child = itself(inside, "listen").stdout(Stdio::piped()).spawn().unwrap();
    let mut byte = [0; 1];
    let stdout = child.stdout.as_mut().unwrap();
    let mut said = String::new();
    while !said.contains("listening") && stdout.read(&mut byte).unwrap() > 0 {
        said.push(char::from(byte[0]));
    }
    child
}

/// Whom the other side took us for, if it was reached.
fn reach(from: Option<&Place>, to: &str) -> Option<String> {
    let inside = from.map_or(Vec::new(), Place::inside);
    let output = itself(&inside, &format!("connect {to}")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().find_map(|line| line.split_once("reached as ")).map(|(_, who)| who.to_owned());
    assert!(line.is_some() || said.contains("not reached"), "{said} {}", common::stderr(&output));
    line
}

fn play(role: &str) {
    match role.split_once(' ') {
        Some(("connect", to)) => {
            let to: SocketAddr = format!("{to}:{PORT}").parse().unwrap();
            let answer = TcpStream::connect_timeout(&to, Duration::from_millis(700)).and_then(|mut stream| {
                let mut who = String::new();
                stream.read_to_string(&mut who).map(|_| who)
            });
            match answer {
                Ok(who) => println!("reached as {who}"),
                Err(error) => println!("not reached: {error}"),
            }
        }
        _ => {
            let listener = TcpListener::bind(("0.0.0.0", PORT)).unwrap();
            println!("listening");
            for stream in listener.incoming().flatten() {
                let who = stream.peer_addr().unwrap().ip().to_string();
                let _ = { stream }.write_all(who.as_bytes());
            }
        }
    }
}

fn forwarding(name: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{name}/forwarding")).unwrap().trim().to_owned()
}

/// All that a start could leave.
fn traces(folder: &EngineFolder) -> String {
    let dir = &folder.dir;
    let libraries = format!("{dir}/tree/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let own =
        format!("LD_LIBRARY_PATH={libraries} XTABLES_LIBDIR={libraries}/xtables {dir}/sbin/xtables-nft-multi iptables");
    let tool =
        if Utf8Path::new(&format!("{dir}/sbin/xtables-nft-multi")).exists() { own } else { "iptables".to_owned() };
    let list = |table: &str| sh(&format!("{tool} -t {table} -S | grep -v '^-P' || true"));
    format!(
        "{}{}{}{}{}",
        list("filter"),
        list("nat"),
        list("mangle"),
        sh("ip rule show"),
        sh("ip -br link show type bridge | cut -d' ' -f1")
    )
}

#[test]
#[ignore = "needs a private engine's programs and root: cargo xtask test images"]
fn packets_get_out_and_nothing_new_gets_in() {
    if let Ok(role) = std::env::var(ROLE) {
        if role == "host" {
            host();
        } else {
            play(&role);
        }
        return;
    }
    if common::programs().is_none() {
        return common::left_out(TEST, "as root, with a private engine's programs");
    }
    let output = itself(&["unshare", "--net", "--mount"].map(str::to_owned), "host").output().unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), common::stderr(&output));
}

fn host() {
    let (ctx, real) = common::programs().unwrap();
    // Folders of their own with the programs of the one that is there.
    let (place, second_place) = (Temporary::new("e").unwrap(), Temporary::new("e").unwrap());
    let made = |place: &Temporary| {
        let folder = EngineFolder { dir: Utf8PathBuf::from(place.path()) };
        std::fs::create_dir(&folder.dir).unwrap();
        sh(&format!("ln -s {0}/tree {1}/tree && cp -a {0}/sbin {0}/bin {1}/", real.dir, folder.dir));
        folder
    };
    let (folder, second) = (made(&place), made(&second_place));

    // `/sys` shows the namespace in which it was mounted.
    sh("mount -t sysfs sysfs /sys && ip link set lo up && echo 0 > /proc/sys/net/ipv4/ip_forward");
    let clean = traces(&folder);
    let (mut near, mut far) = (Place::new(), Place::new());
    near.join("near", "192.0.2.1/24", "192.0.2.2", "192.0.2.1");
    far.join("far", "198.51.100.1/24", "198.51.100.2", "198.51.100.1");
    let _server = Place(listen(&[]), Vec::new());
    assert_eq!(reach(Some(&near), "198.51.100.2"), None, "the host does not forward");

    let network = network::up(&ctx, &folder).unwrap();
    assert!(network.iptables.is_some());
    let (inner, other) = containers(&network);
    let address = |rest: &str| format!("10.{}.{rest}", network.octet);
    let (inner_at, beside_at, other_at) = (address("0.2"), address("0.3"), address("128.2"));

    // Out, as the host; and the host and neighbours on one bridge see each other.
    assert_eq!(reach(Some(&inner[0]), "192.0.2.2").as_deref(), Some("192.0.2.1"));
    assert_eq!(reach(Some(&other), "198.51.100.2").as_deref(), Some("198.51.100.1"));
    assert_eq!(reach(Some(&inner[0]), &beside_at), Some(inner_at.clone()));
    for to in [&inner_at, &other_at, &address("0.1")] {
        assert!(reach(None, to).is_some(), "the host reaches {to}");
    }
    assert!(reach(Some(&inner[0]), &address("0.1")).is_some(), "a container reaches the host");
    // Not from one network into another, not from outside, not past the host.
    assert_eq!(reach(Some(&inner[0]), &other_at), None);
    assert_eq!(reach(Some(&other), &inner_at), None);
    for to in [&inner_at, &other_at, &address("0.1")] {
        assert_eq!(reach(Some(&near), to), None, "outside reached {to}");
    }
    assert_eq!(reach(Some(&near), "198.51.100.2"), None, "the host forwards for others");
    drop((inner, other));

    // Down, and all is as it was; also when the record is lost, also twice.
    for lost in [false, true] {
        if lost {
            network::up(&ctx, &folder).unwrap();
            let once = traces(&folder);
            let record = folder.dir.join("network.json");
            std::fs::remove_file(&record).unwrap();
            network::up(&ctx, &folder).unwrap();
            assert_eq!(traces(&folder), once, "a second start adds nothing");
            std::fs::remove_file(&record).unwrap();
        }
        assert_eq!(network::down(&ctx, &folder), Vec::<String>::new());
        assert_eq!(traces(&folder), clean, "lost record: {lost}");
        assert_eq!(forwarding("all"), "0", "lost record: {lost}");
        assert!(network::remembered(&folder).is_none());
    }

    // Who forwarded before still does, and after.
    sh("echo 1 > /proc/sys/net/ipv4/conf/near/forwarding; echo 1 > /proc/sys/net/ipv4/conf/far/forwarding");
    assert!(reach(Some(&near), "198.51.100.2").is_some());
    network::up(&ctx, &folder).unwrap();
    assert!(reach(Some(&near), "198.51.100.2").is_some());
    assert_eq!(network::down(&ctx, &folder), Vec::<String>::new());
    assert_eq!(["all", "near", "far", "lo"].map(forwarding), ["0", "1", "1", "0"]);
    assert!(reach(Some(&near), "198.51.100.2").is_some());
    assert_eq!(traces(&folder), clean);

    // Two engines side by side, whichever started last: out, but not into each
    // other, and the host forwards for nobody else until the last has gone.
    sh("echo 0 > /proc/sys/net/ipv4/ip_forward");
    let [one, two] = [&folder, &second].map(|folder| network::up(&ctx, folder).unwrap());
    network::up(&ctx, &folder).unwrap();
    let mut places = [Place::new(), Place::new()];
    for (place, engine) in places.iter_mut().zip([&one, &two]) {
        let (at, own) = (format!("10.{}.0.2", engine.octet), format!("10.{}.0.1", engine.octet));
        place.join(&format!("in{}", engine.octet), &engine.bridge, &at, &own);
    }
    for (place, other) in [(&places[0], &two), (&places[1], &one)] {
        assert!(reach(Some(place), "198.51.100.2").is_some());
        assert_eq!(reach(Some(place), &format!("10.{}.0.2", other.octet)), None);
    }
    assert_eq!(network::down(&ctx, &folder), Vec::<String>::new());
    assert!(reach(Some(&places[1]), "198.51.100.2").is_some(), "the other one lives on");
    assert_eq!(reach(Some(&near), "198.51.100.2"), None);
    drop(places);
    assert_eq!(network::down(&ctx, &second), Vec::<String>::new());
    assert_eq!((traces(&folder), forwarding("all").as_str()), (clean, "0"));
}

/// Two containers in the first network, and one in a network that a user made.
fn containers(network: &EngineNetwork) -> ([Place; 2], Place) {
    let octet = network.octet;
    let own = format!("10.{octet}.0.1");
    let mut inner = [Place::new(), Place::new()];
    for (place, last) in inner.iter_mut().zip(2..) {
        place.join(&format!("inner{last}"), &network.bridge, &format!("10.{octet}.0.{last}"), &own);
    }
    sh(&format!(
        "ip link add br-user type bridge && ip addr add 10.{octet}.128.1/24 dev br-user && ip link set br-user up"
    ));
    let mut other = Place::new();
    other.join("other", "br-user", &format!("10.{octet}.128.2"), &format!("10.{octet}.128.1"));
    (inner, other)
}
