//! The private engine's network: a bridge, and a /16 range for all of its
//! containers.
//!
//! Two engines must never both manage iptables, so this one's dockerd doesn't. We
//! set the rules (see `firewall`), by address range and not by bridge, so that
//! they also cover networks which users create later. Containers can reach the
//! outside. New connections are refused, both from outside and from one network
//! to another. The kernel can only forward for all interfaces, so if the host did
//! not forward before, a final rule drops everything else.
//!
//! What was set up is found again even if the record is lost. The record is
//! removed when nothing is left.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::forwarding::{self, ForwardingBefore};
use super::{EngineFolder, firewall};
use crate::ctx::Ctx;
use crate::exec::{files, program, run};
use crate::fault;
use crate::model::identity;
use crate::plan::step::Step;

/// The second octets of 10.0.0.0/8 to choose from: few VPNs and clusters use
/// them.
const OCTETS: std::ops::Range<u8> = 213..251;

/// What `up` changed on the host, recorded for `down`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineNetwork {
    /// The engine's folder. A copy of the folder has the record of another engine.
    #[serde(default)]
    pub folder: String,
    /// The bridge of the default network.
    pub bridge: String,
    /// The second octet of the address range.
    pub octet: u8,
    /// The iptables program that works, if there is one.
    pub iptables: Option<String>,
    /// The state of the host before.
    #[serde(flatten)]
    pub before: ForwardingBefore,
}

impl EngineNetwork {
    /// Whether it is the record of the engine in this folder, as far as it tells.
    fn is_of(&self, folder: &str) -> bool {
        self.folder.is_empty() || self.folder == folder
    }

    /// The address range of the engine.
    pub fn range(&self) -> String {
        format!("10.{}.0.0/16", self.octet)
    }

    /// The addresses of the default network.
    pub fn first(&self) -> String {
        format!("10.{}.0.0/24", self.octet)
    }

    /// The addresses for networks that users create.
    pub fn pool(&self) -> String {
        format!("10.{}.128.0/17", self.octet)
    }
}

/// The name of the bridge: at most 15 bytes, and different for each folder.
fn bridge(folder: &str) -> String {
    format!("xt{:010x}", identity::short_hash(&[folder]) & 0xff_ffff_ffff)
}

/// All bridges that the engine in this folder may have: an earlier version named
/// them otherwise, and recorded the name.
fn bridges(folder: &str, record: Option<&EngineNetwork>) -> Vec<String> {
    let recorded = record.filter(|record| record.is_of(folder)).map(|record| record.bridge.clone());
    let mut names = vec![bridge(folder)];
    names.extend(recorded.filter(|name| *name != names[0]));
    names
}

/// A second octet for the folder that no route of this machine uses.
fn octet(folder: &str, routes: &str) -> u8 {
    let count = u64::from(OCTETS.end - OCTETS.start);
    let first = identity::short_hash(&[folder]) % count;
    let taken = |octet: u8| routes.lines().skip(1).any(|line| has(line, octet));
    (0..count)
        .map(|step| OCTETS.start + u8::try_from((first + step) % count).unwrap_or_default())
        .find(|octet| !taken(*octet))
        .unwrap_or(OCTETS.start)
}

/// Whether a line of `/proc/net/route` is a route within 10.OCTET.0.0/16. A route
/// to a larger range (a default route, a VPN's 10.0.0.0/8) does not count.
fn has(line: &str, octet: u8) -> bool {
    let mut words = line.split_whitespace().skip(1);
    let hex = |word: Option<&str>| word.and_then(|word| u32::from_str_radix(word, 16).ok());
    let (Some(to), Some(mask)) = (hex(words.next()), hex(words.nth(5))) else {
        return false;
    };
    // The bytes are in memory order, which is little-endian on every supported
    // machine.
    to.to_le_bytes()[..2] == [10, octet] && mask.to_le_bytes()[..2] == [255, 255]
}

/// Creates the bridge and the rules, or repairs existing ones.
pub fn up(ctx: &Ctx, folder: &EngineFolder) -> anyhow::Result<EngineNetwork> {
    let name = bridge(folder.dir.as_str());
    let before = before(ctx, folder, &name);
    let left = take_back(ctx, folder, Some(&before));
    if !left.is_empty() {
        return Err(stays(&left));
    }
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let octet = octet(folder.dir.as_str(), &routes);
    let mut network =
        EngineNetwork { folder: folder.dir.to_string(), bridge: name, octet, iptables: choose(ctx, folder), before };
    // Recorded before anything changes, although the changes are found without
    // it, too.
    remember(folder, &network)?;

    let link = network.bridge.clone();
    let ip = |line: &str| run::read(ctx, &tool(ctx, folder, "ip").args(line.split(' ')));
    if let Some(program) = network.iptables.clone()
        && let Err(error) = admit(ctx, folder, &network, &program)
    {
        crate::exec::interrupt::check()?;
        ctx.say(format!("note: {}", fault::said(&error)));
        let left = undo(ctx, folder, &network.bridge, Some(&network));
        if !left.is_empty() {
            return Err(stays(&left));
        }
        network.iptables = None;
    }
    for rule in firewall::routing(octet, network.iptables.is_some()) {
        ip(&format!("rule add {rule}"))?;
    }
    ip(&format!("link add {link} type bridge"))?;
    ip(&format!("addr replace 10.{octet}.0.1/24 dev {link}"))?;
    ip(&format!("link set {link} up"))?;
    if network.iptables.is_some() {
        // Without forwarding, the kernel drops packets from a bridge to the
        // outside. It comes last, so that it is never on without the rules.
        forwarding::on();
    } else {
        ctx.say(
            "note: iptables does not work here: containers reach neither the internet nor each other by name, and builds need `--network=host`",
        );
    }
    remember(folder, &network)?;
    Ok(network)
}

/// Adds the iptables rules.
fn admit(ctx: &Ctx, folder: &EngineFolder, network: &EngineNetwork, program: &str) -> anyhow::Result<()> {
    let mut all = firewall::of_range(&network.bridge, &network.range());
    if !network.before.forwarded {
        all.extend(firewall::of_guard(&network.bridge, &network.before.open, forwarding::sees_bridges()));
    }
    all.iter().try_for_each(|rule| run::read(ctx, &iptables(ctx, folder, program).args(rule.adding())).map(drop))
}

/// The state of the host before any private engine: from this boot's record, or
/// from an existing guard, or the current state.
fn before(ctx: &Ctx, folder: &EngineFolder, bridge: &str) -> ForwardingBefore {
    let now = ForwardingBefore::now(bridge);
    match remembered(folder).map(|network| network.before) {
        Some(before) if before.boot == now.boot || before.boot.is_empty() => before,
        _ => {
            let guarded = guarded(ctx, folder, bridge);
            ForwardingBefore { forwarded: now.forwarded && !guarded, ..now }
        }
    }
}

/// Whether a guard exists, of this engine or of another.
fn guarded(ctx: &Ctx, folder: &EngineFolder, bridge: &str) -> bool {
    programs(ctx, folder).iter().any(|program| {
        let listing = list(ctx, folder, program, "filter");
        firewall::other_guard(&listing, bridge) || listing.contains(&firewall::guard(bridge))
    })
}

/// Undoes what `up` did. Returns what remains, for people; the record stays as
/// long as something does.
pub fn down(ctx: &Ctx, folder: &EngineFolder) -> Vec<String> {
    let name = bridge(folder.dir.as_str());
    let before = match remembered(folder) {
        Some(network) => network.iptables.map(|_| network.before),
        // The record is lost, but a guard proves that nothing was forwarded.
        None => guarded(ctx, folder, &name).then(ForwardingBefore::default),
    };
    let left = take_back(ctx, folder, before.as_ref());
    if left.is_empty() {
        let _ = fs::remove_file(file(folder));
    }
    left
}

/// First restores forwarding, which needs the guard while it is on; then removes
/// rules and bridges. Returns what remains.
fn take_back(ctx: &Ctx, folder: &EngineFolder, before: Option<&ForwardingBefore>) -> Vec<String> {
    let (record, mut left) = (remembered(folder), Vec::new());
    let name = &bridge(folder.dir.as_str());
    if let Some(before) = before.filter(|before| !before.forwarded) {
        let listings = programs(ctx, folder).into_iter().map(|program| list(ctx, folder, &program, "filter"));
        if !listings.into_iter().any(|listing| firewall::other_guard(&listing, name)) && !before.is_needed(name) {
            left.extend(before.restore());
        }
    }
    for name in bridges(folder.dir.as_str(), record.as_ref()) {
        left.extend(undo(ctx, folder, &name, record.as_ref()));
    }
    left
}

/// The record of `up`, if there is one.
pub fn remembered(folder: &EngineFolder) -> Option<EngineNetwork> {
    let record: EngineNetwork = serde_json::from_str(&fs::read_to_string(file(folder)).ok()?).ok()?;
    record.is_of(folder.dir.as_str()).then_some(record)
}

/// Readable for everybody, because `engine status` reads it.
fn remember(folder: &EngineFolder, network: &EngineNetwork) -> anyhow::Result<()> {
    files::write(&file(folder), serde_json::to_string(network)?)?;
    fs::set_permissions(file(folder), fs::Permissions::from_mode(0o644))?;
    Ok(())
}

fn file(folder: &EngineFolder) -> Utf8PathBuf {
    folder.dir.join("network.json")
}

fn stays(left: &[String]) -> anyhow::Error {
    fault::failed(format!("the remains of an earlier start can't be removed: {}", left.join("; "))).into()
}

/// Removes all rules and bridges of this engine, whatever the record says.
/// Returns what remains.
fn undo(ctx: &Ctx, folder: &EngineFolder, name: &str, network: Option<&EngineNetwork>) -> Vec<String> {
    let routes = || fs::read_to_string("/proc/net/route").unwrap_or_default();
    let comments = [firewall::comment(name), firewall::guard(name)];
    let mut octets: Vec<u8> = network.iter().map(|network| network.octet).collect();
    let mut left = Vec::new();
    for program in programs(ctx, folder) {
        for table in firewall::TABLES {
            octets.extend(firewall::octets(&list(ctx, folder, &program, table), name));
            // Repeated, because a kill may have left a rule twice.
            for _ in 0..4 {
                for rule in firewall::deleting(&list(ctx, folder, &program, table), table, &comments) {
                    let _ = run::tidy(ctx, &iptables(ctx, folder, &program).args(rule));
                }
            }
            let rules = firewall::deleting(&list(ctx, folder, &program, table), table, &comments);
            left.extend(rules.iter().map(|rule| format!("a rule of iptables (`{program} {}`)", rule.join(" "))));
        }
    }
    octets.extend(OCTETS.filter(|octet| routes().lines().any(|line| line.starts_with(name) && has(line, *octet))));
    if octets.is_empty() {
        // There is no trace of the octet, so the folder's preferred one is tried.
        octets.push(octet(folder.dir.as_str(), &routes()));
    }
    octets.sort_unstable();
    octets.dedup();
    let ip = |words: &[&str]| run::tidy(ctx, &tool(ctx, folder, "ip").args(words.iter().copied()));
    for octet in &octets {
        let is_there = || firewall::placed(&ip(&["rule", "show"]).unwrap_or_default(), *octet);
        for place in is_there() {
            let _ = ip(&["rule", "del", "pref", &place]);
        }
        left.extend(is_there().iter().map(|place| format!("a routing rule (`ip rule del pref {place}`)")));
        for link in links(name, *octet, &routes()) {
            let _ = ip(&["link", "del", &link]);
        }
        left.extend(
            links(name, *octet, &routes()).iter().map(|link| format!("the bridge {link} (`ip link del {link}`)")),
        );
    }
    left.sort();
    left.dedup();
    left
}

/// Our bridge, and the bridges of users' networks: `br-…` with an address in our
/// range.
fn links(name: &str, octet: u8, routes: &str) -> Vec<String> {
    let mut links = vec![name.to_owned()];
    for line in routes.lines().skip(1).filter(|line| has(line, octet)) {
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

/// The first iptables program that can list all its tables: the host's, if there
/// is one, else one of the two unpacked ones.
fn choose(ctx: &Ctx, folder: &EngineFolder) -> Option<String> {
    let works = |program: &str| {
        let listed =
            |table: &str| run::probe(ctx, &iptables(ctx, folder, program).args(["-w", "5", "-t", table, "-S"]));
        firewall::TABLES.iter().all(|table| listed(table).is_some())
    };
    if program::find_tool(ctx, "iptables").is_some() {
        return Some("iptables".to_owned()).filter(|program| works(program));
    }
    for kind in ["nft", "legacy"] {
        let program = unpacked(folder, kind);
        if works(program.as_str()) {
            // In user networks, dockerd resolves names with rules in the
            // container's namespace, and looks for these two programs.
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

fn unpacked(folder: &EngineFolder, kind: &str) -> Utf8PathBuf {
    folder.dir.join(format!("sbin/xtables-{kind}-multi"))
}

/// All programs that may have set rules.
fn programs(ctx: &Ctx, folder: &EngineFolder) -> Vec<String> {
    // The legacy tables only exist once somebody has used them, and listing would
    // create them.
    let legacy = fs::read_to_string("/proc/net/ip_tables_names").is_ok_and(|names| !names.trim().is_empty());
    let own = |kind| Some(unpacked(folder, kind)).filter(|program| program.exists()).map(Utf8PathBuf::into_string);
    let host = |name: &str| program::find_tool(ctx, name).map(|_| name.to_owned());
    let mut programs = vec![host("iptables"), own("nft")];
    if legacy {
        programs.extend([host("iptables-legacy"), own("legacy")]);
    }
    programs.into_iter().flatten().collect()
}

fn list(ctx: &Ctx, folder: &EngineFolder, program: &str, table: &str) -> String {
    run::tidy(ctx, &iptables(ctx, folder, program).args(["-w", "5", "-t", table, "-S"])).unwrap_or_default()
}

fn iptables(ctx: &Ctx, folder: &EngineFolder, program: &str) -> Step {
    let step = tool(ctx, folder, program);
    if program.contains("xtables-") { step.arg("iptables") } else { step }
}

/// A network tool, with the libraries and folders that it may need.
fn tool(ctx: &Ctx, folder: &EngineFolder, program: &str) -> Step {
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

    #[test]
    fn a_record_names_an_older_bridge_of_this_folder_and_of_no_other() {
        let record = |folder: &str, bridge: &str| EngineNetwork {
            folder: folder.into(),
            bridge: bridge.into(),
            octet: 220,
            iptables: None,
            before: ForwardingBefore::default(),
        };
        let own = bridge("/a");
        let both = vec![own.clone(), "xt0".to_owned()];
        for (record, expected) in [
            (None, vec![own.clone()]),
            (Some(record("/a", &own)), vec![own.clone()]),
            (Some(record("/a", "xt0")), both.clone()),
            (Some(record("", "xt0")), both),
            (Some(record("/b", "xt0")), vec![own.clone()]),
        ] {
            assert_eq!(bridges("/a", record.as_ref()), expected, "{record:?}");
        }
        // Before records named their folder.
        let old: EngineNetwork = serde_json::from_str(
            r#"{"bridge":"xt0","octet":220,"iptables":null,"boot":"","forwarded":true,"open":[]}"#,
        )
        .unwrap();
        assert!(old.is_of("/a"));
    }
}
