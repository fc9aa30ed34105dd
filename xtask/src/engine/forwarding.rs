//! Saves and restores whether the host forwards packets.
//!
//! One kernel setting changes all interfaces, those added later, and a second
//! setting. So everything is saved and restored.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
const INTERFACES: &str = "/proc/sys/net/ipv4/conf";
const REDIRECTS: &str = "/proc/sys/net/ipv4/conf/all/accept_redirects";

/// The state of the host before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardingBefore {
    /// Whether it forwarded.
    pub forwarded: bool,
    /// The boot to which this state belongs.
    #[serde(default)]
    pub boot: String,
    /// Interfaces that forwarded although the host as a whole did not.
    #[serde(default)]
    pub open: Vec<String>,
    /// Whether it accepted redirects, which the setting changes, too.
    #[serde(default)]
    pub redirects: Option<String>,
    /// The existing bridges.
    #[serde(default)]
    pub bridges: Vec<String>,
}

impl ForwardingBefore {
    /// The current state of the host, without our own bridge.
    pub fn now(own: &str) -> Self {
        let forwarded = is_on(FORWARD);
        let mut open = interfaces();
        open.retain(|name| !forwarded && name != own && is_on(&of(name)));
        Self {
            forwarded,
            boot: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
            open,
            redirects: fs::read_to_string(REDIRECTS).ok().map(|text| text.trim().to_owned()),
            bridges: bridges(),
        }
    }

    /// Whether somebody has come to depend on forwarding: another private engine,
    /// or a new bridge.
    pub fn is_needed(&self, own: &str) -> bool {
        bridges().iter().any(|bridge| lives(bridge, own, &self.bridges))
    }

    /// Restores everything, and returns what could not be restored.
    pub fn restore(&self) -> Option<String> {
        let _ = fs::write(FORWARD, "0");
        for name in &self.open {
            let _ = fs::write(of(name), "1");
        }
        if let Some(redirects) = &self.redirects {
            let _ = fs::write(REDIRECTS, redirects);
        }
        is_on(FORWARD).then(|| format!("the host forwards packets (`echo 0 > {FORWARD}`)"))
    }
}

/// Switches forwarding on.
pub fn on() {
    if !is_on(FORWARD) {
        let _ = fs::write(FORWARD, "1");
    }
}

/// Whether iptables also sees frames within a bridge.
pub fn sees_bridges() -> bool {
    Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists()
}

fn lives(bridge: &str, own: &str, before: &[String]) -> bool {
    let digits = bridge.strip_prefix("xt");
    let is_engines = digits.is_some_and(|it| it.len() == 10 && it.bytes().all(|byte| byte.is_ascii_hexdigit()));
    // Networks of our engine are `br-…`, like those of another Docker; but
    // another Docker also has a `docker0`.
    bridge != own && (is_engines || !(bridge.starts_with("br-") || before.iter().any(|known| known == bridge)))
}

fn is_on(file: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.trim() == "1")
}

fn of(interface: &str) -> String {
    format!("{INTERFACES}/{interface}/forwarding")
}

fn interfaces() -> Vec<String> {
    let Ok(entries) = fs::read_dir(INTERFACES) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| !["all", "default"].contains(&name.as_str())).collect();
    names.sort();
    names
}

fn bridges() -> Vec<String> {
    let mut names = interfaces();
    names.retain(|name| Path::new("/sys/class/net").join(name).join("bridge").exists());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lives_by_forwarding_is_another_engine_or_a_bridge_that_came_later() {
        let before = ["virbr0", "xtab"].map(str::to_owned);
        for (bridge, expected) in [
            ("xt0123456789", false), // our own
            ("xtabcdef0123", true),
            ("virbr0", false),
            ("docker0", true),
            ("br-0123", false),
            ("xtra", true),
            ("xtab", false),
        ] {
            assert_eq!(lives(bridge, "xt0123456789", &before), expected, "{bridge}");
        }
    }

    #[test]
    fn an_older_record_says_what_it_said() {
        let before: ForwardingBefore = serde_json::from_str("{\"forwarded\":true}").unwrap();
        assert!(before.forwarded && before.boot.is_empty() && before.open.is_empty());
    }
}
