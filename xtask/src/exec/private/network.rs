//! The private engine's network: a bridge of its own, and a /16 that holds all
//! of its containers.
//!
//! Two engines must never both manage iptables, so this one's dockerd doesn't.
//! The rules are here, four of them, by address range and not by bridge, so
//! that networks which users make later are covered too; each carries a
//! comment, by which `down` finds it again.

use std::fs;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::Folder;
use crate::ctx::Ctx;
use crate::exec::run;
use crate::model::base::fnv;
use crate::plan::step::Step;

/// Second octets of 10.0.0.0/8 to choose from: few VPNs and clusters are there.
const OCTETS: std::ops::Range<u8> = 213..251;

/// What `up` did to the host's network, as remembered for `down`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The bridge of the default network.
    pub bridge: String,
    /// The second octet of the address range.
    pub octet: u8,
    /// The iptables program that works, if one does.
    pub iptables: Option<String>,
    /// Whether the host forwarded packets before.
    pub forwarded: bool,
}

impl Network {
    /// All addresses of the engine.
    pub fn range(&self) -> String {
        format!("10.{}.0.0/16", self.octet)
    }

    /// The addresses of the default network.
    pub fn first(&self) -> String {
        format!("10.{}.0.0/24", self.octet)
    }

    /// The addresses for networks that users make.
    pub fn pool(&self) -> String {
        format!("10.{}.128.0/17", self.octet)
    }

    /// Table, chain and rule.
    fn rules(&self) -> [(&'static str, &'static str, String); 3] {
        let range = self.range();
        let comment = format!("-m comment --comment xtask-engine-{}", self.bridge);
        let back = "-m conntrack --ctstate RELATED,ESTABLISHED";
        [
            ("filter", "FORWARD", format!("-s {range} {comment} -j ACCEPT")),
            ("filter", "FORWARD", format!("-d {range} {back} {comment} -j ACCEPT")),
            ("nat", "POSTROUTING", format!("-s {range} ! -d {range} {comment} -j MASQUERADE")),
        ]
    }
}

/// The bridge's name: 15 bytes at most, and another one for another folder.
fn bridge(folder: &str) -> String {
    format!("xt{:010x}", fnv(folder.as_bytes()) & 0xff_ffff_ffff)
}

/// The octet for a folder that no route of this machine has.
fn octet(folder: &str, routes: &str) -> u8 {
    let count = u64::from(OCTETS.end - OCTETS.start);
    let first = fnv(folder.as_bytes()) % count;
    let taken = |octet: u8| routes.lines().skip(1).any(|line| has(line, octet));
    (0..count)
        .map(|step| OCTETS.start + u8::try_from((first + step) % count).unwrap_or_default())
        .find(|octet| !taken(*octet))
        .unwrap_or(OCTETS.start)
}

/// Whether a line of `/proc/net/route` leads into 10.OCTET.0.0/16; a route to
/// more than that (a default route, a VPN's 10.0.0.0/8) does not count.
fn has(line: &str, octet: u8) -> bool {
    let mut words = line.split_whitespace().skip(1);
    let hex = |word: Option<&str>| word.and_then(|word| u32::from_str_radix(word, 16).ok());
    let (Some(to), Some(mask)) = (hex(words.next()), hex(words.nth(5))) else {
        return false;
    };
    // Written as the bytes lie in memory: little-endian on all we run on.
    to.to_le_bytes()[..2] == [10, octet] && mask.to_le_bytes()[..2] == [255, 255]
}

/// Makes the bridge and the rules. Again: changes nothing.
pub fn up(ctx: &Ctx, folder: &Folder) -> anyhow::Result<Network> {
    let old = remembered(folder);
    if let Some(old) = &old {
        undo(ctx, folder, old);
    }
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let name = folder.dir.as_str();
    // What an engine that was killed has set is not what was there before it.
    let forwards = || fs::read_to_string(FORWARD).is_ok_and(|text| text.trim() == "1");
    let forwarded = old.map_or_else(forwards, |old| old.forwarded);
    let mut network = Network { bridge: bridge(name), octet: octet(name, &routes), iptables: None, forwarded };
    network.iptables = choose(ctx, folder);
    fs::write(file(folder), serde_json::to_string(&network)?)?;

    let link = network.bridge.clone();
    let ip = |line: &str| tool(ctx, folder, "ip").args(line.split(' '));
    run::read(ctx, &ip(&format!("link add {link} type bridge")))?;
    run::read(ctx, &ip(&format!("addr replace 10.{}.0.1/24 dev {link}", network.octet)))?;
    run::read(ctx, &ip(&format!("link set {link} up")))?;
    if let Some(program) = network.iptables.clone() {
        for rule in network.rules() {
            if run::read(ctx, &edit(ctx, folder, &program, "-I", &rule)).is_err() {
                network.iptables = None;
                ctx.say("note: iptables refused a rule; without it containers reach neither the internet nor each other by name: build with `--network=host`");
                break;
            }
        }
        // Without it the kernel drops what a bridge sends to the world.
        let _ = fs::write(FORWARD, "1");
    } else {
        ctx.say(
            "note: iptables does not work here: containers don't reach the internet, and builds need `--network=host`",
        );
    }
    fs::write(file(folder), serde_json::to_string(&network)?)?;
    Ok(network)
}

/// Takes back what `up` did.
pub fn down(ctx: &Ctx, folder: &Folder) {
    if let Some(network) = remembered(folder) {
        undo(ctx, folder, &network);
        // Only if no other engine lives by it: they all set it.
        if !network.forwarded && !others(&network.bridge) {
            let _ = fs::write(FORWARD, "0");
        }
        let _ = fs::remove_file(file(folder));
    }
}

/// What `up` did, if it did.
pub fn remembered(folder: &Folder) -> Option<Network> {
    serde_json::from_str(&fs::read_to_string(file(folder)).ok()?).ok()
}

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

fn file(folder: &Folder) -> Utf8PathBuf {
    folder.dir.join("network.json")
}

fn undo(ctx: &Ctx, folder: &Folder, network: &Network) {
    let programs = network.iptables.iter();
    for program in programs {
        for rule in network.rules() {
            // Each until it is gone: a reboot or a kill may have doubled it.
            for _ in 0..4 {
                if run::probe(ctx, &edit(ctx, folder, program, "-D", &rule)).is_none() {
                    break;
                }
            }
        }
    }
    for link in links(network) {
        let _ = run::probe(ctx, &tool(ctx, folder, "ip").args(["link", "del", &link]));
    }
}

/// Our bridge, and those of the networks that users made: `br-…` with an
/// address of our range.
fn links(network: &Network) -> Vec<String> {
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let mut links = vec![network.bridge.clone()];
    for line in routes.lines().skip(1).filter(|line| has(line, network.octet)) {
        let name = line.split_whitespace().next().unwrap_or_default();
        if name.starts_with("br-") {
            links.push(name.to_owned());
        }
    }
    links.retain(|name| fs::exists(format!("/sys/class/net/{name}/bridge")).unwrap_or(false));
    links.sort();
    links.dedup();
    links
}

/// Whether another engine's bridge is there.
fn others(own: &str) -> bool {
    let Ok(entries) = fs::read_dir("/sys/class/net") else { return false };
    entries.flatten().any(|entry| entry.file_name() != own && entry.path().join("bridge").exists())
}

/// The first iptables that can list and knows its tables: the host's, whatever
/// it is, else one of the two that were unpacked.
fn choose(ctx: &Ctx, folder: &Folder) -> Option<String> {
    let unpacked = |kind| folder.dir.join(format!("sbin/xtables-{kind}-multi"));
    let works = |program: &str| {
        let list = |table: &str| iptables(ctx, folder, program).args(["-w", "-t", table, "-S"]);
        run::probe(ctx, &list("nat")).is_some() && run::probe(ctx, &list("filter")).is_some()
    };
    if super::packages::on_path(ctx, "iptables") {
        return Some("iptables".to_owned()).filter(|program| works(program));
    }
    for kind in ["nft", "legacy"] {
        let program = unpacked(kind);
        if works(program.as_str()) {
            // dockerd resolves names in user networks with rules of its own
            // inside the container's namespace: it looks for these two names.
            for name in ["iptables", "ip6tables"] {
                let link = folder.dir.join("sbin").join(name);
                let _ = fs::remove_file(&link);
                let _ = std::os::unix::fs::symlink(format!("xtables-{kind}-multi"), link);
            }
            return Some(program.into_string());
        }
    }
    None
}

fn edit(ctx: &Ctx, folder: &Folder, program: &str, verb: &str, rule: &(&str, &str, String)) -> Step {
    let (table, chain, rest) = rule;
    iptables(ctx, folder, program).args(["-w", "-t", table, verb, chain]).args(rest.split(' '))
}

fn iptables(ctx: &Ctx, folder: &Folder, program: &str) -> Step {
    let step = tool(ctx, folder, program);
    if program.contains("xtables-") { step.arg("iptables") } else { step }
}

/// A network tool with the libraries and folders that it may need.
fn tool(ctx: &Ctx, folder: &Folder, program: &str) -> Step {
    folder.env(ctx).into_iter().fold(Step::new(program), |step, (name, value)| step.env(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
tun0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0
br-1\t0080DC0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
";

    #[test]
    fn a_route_counts_only_within_the_sixteen() {
        let hits = |octet| ROUTES.lines().skip(1).filter(|line| has(line, octet)).count();
        assert_eq!((hits(220), hits(0), hits(221)), (1, 0, 0));
        assert!(!has("", 220) && !has("br-1 xyz", 220));
    }

    #[test]
    fn the_range_is_the_folders_own_and_never_a_taken_one() {
        for n in 0..200 {
            let folder = format!("/home/{n}/engine");
            let chosen = octet(&folder, ROUTES);
            assert!(OCTETS.contains(&chosen) && chosen != 220);
            assert_eq!(chosen, octet(&folder, ROUTES));
            assert!(bridge(&folder).len() <= 15);
        }
        assert_ne!(bridge("/a"), bridge("/b"));
    }
}
