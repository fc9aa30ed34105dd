//! The firewall and routing rules for an engine's range, as plain data, and how
//! to find our rules again.
//!
//! Each iptables rule has a comment with the name of the bridge, so it is found
//! even if our own records are lost.

/// Matches packets of connections made from inside, and new ones.
const BACK: &str = "-m conntrack --ctstate RELATED,ESTABLISHED";
const NEW: &str = "-m conntrack ! --ctstate RELATED,ESTABLISHED";
/// The first preference of our routing rules. Each range has two.
const PREFERENCE: u32 = 21_000;

/// The tables with our rules.
pub const TABLES: [&str; 3] = ["filter", "nat", "mangle"];

/// One iptables rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirewallRule {
    /// One of `TABLES`.
    pub table: &'static str,
    /// `FORWARD`.
    pub chain: &'static str,
    /// Appended instead of inserted at the front.
    pub last: bool,
    /// The other arguments.
    pub words: String,
}

impl FirewallRule {
    /// The arguments that add it.
    pub fn adding(&self) -> Vec<String> {
        let verb = if self.last { "-A" } else { "-I" };
        let head = ["-w", "5", "-t", self.table, verb, self.chain];
        head.into_iter().chain(self.words.split(' ')).map(str::to_owned).collect()
    }
}

/// The comment of an engine's rules.
pub fn comment(bridge: &str) -> String {
    format!("xtask-engine-{bridge}")
}

/// The comment of the guard: the rules that keep the host from forwarding more
/// than it did before.
pub fn guard(bridge: &str) -> String {
    format!("xtask-guard-{bridge}")
}

/// The rules for a range, in the order in which they are added. Of those inserted
/// at the front, the last one comes first.
pub fn of_range(bridge: &str, range: &str) -> Vec<FirewallRule> {
    let comment = format!("-m comment --comment {}", comment(bridge));
    let rule = |table, chain, words: String| FirewallRule { table, chain, last: false, words };
    vec![
        rule("nat", "POSTROUTING", format!("-s {range} ! -d {range} {comment} -j MASQUERADE")),
        // Only packets that come in through our bridges. Others may claim an
        // address in the range.
        rule("filter", "FORWARD", format!("-s {range} -i br-+ {comment} -j ACCEPT")),
        rule("filter", "FORWARD", format!("-s {range} -i {bridge} {comment} -j ACCEPT")),
        rule("filter", "FORWARD", format!("-d {range} {BACK} {comment} -j ACCEPT")),
        // In a table that comes before the filter table, where other programs may
        // accept packets.
        rule("mangle", "FORWARD", format!("! -s {range} -d {range} {NEW} {comment} -j DROP")),
        // The host's addresses in the range are only for containers and the host
        // itself.
        rule("filter", "INPUT", format!("! -s {range} -d {range} ! -i lo {comment} -j DROP")),
    ]
}

/// The guard for a host that forwarded nothing. Its rules come last, so other
/// rules still decide first. `open` are the interfaces that did forward.
/// `bridged` says that iptables also sees frames within a bridge, which are not
/// forwarded.
pub fn of_guard(bridge: &str, open: &[String], bridged: bool) -> Vec<FirewallRule> {
    let comment = format!("-m comment --comment {}", guard(bridge));
    let rule = |words: String| FirewallRule { table: "filter", chain: "FORWARD", last: true, words };
    let mut rules: Vec<_> = open.iter().map(|name| rule(format!("-i {name} {comment} -j RETURN"))).collect();
    let routed = if bridged { "-m physdev ! --physdev-is-bridged " } else { "" };
    rules.push(rule(format!("{routed}{comment} -j DROP")));
    rules
}

/// The arguments that delete each rule with one of the comments from a listing
/// (`iptables -t TABLE -S`).
pub fn deleting(listing: &str, table: &str, comments: &[String]) -> Vec<Vec<String>> {
    let words = listing.lines().filter_map(|line| shell_words::split(line).ok());
    let ours = words.filter(|words| {
        let said = words.windows(2).find(|pair| pair[0] == "--comment").map(|pair| &pair[1]);
        words.first().is_some_and(|verb| verb == "-A") && said.is_some_and(|said| comments.contains(said))
    });
    ours.map(|words| {
        let head = ["-w", "5", "-t", table, "-D"].map(str::to_owned);
        head.into_iter().chain(words.into_iter().skip(1)).collect()
    })
    .collect()
}

/// Whether a listing contains the guard of another engine.
pub fn other_guard(listing: &str, bridge: &str) -> bool {
    let own = guard(bridge);
    let mut words = listing.lines().filter_map(|line| shell_words::split(line).ok()).flatten();
    words.any(|word| word.starts_with("xtask-guard-") && word != own)
}

/// The second octets of the ranges in an engine's rules.
pub fn octets(listing: &str, bridge: &str) -> Vec<u8> {
    let own = comment(bridge);
    let lines = listing.lines().filter(|line| line.split([' ', '"']).any(|word| word == own));
    let ranges =
        lines.flat_map(|line| line.split(' ')).filter_map(|word| word.strip_prefix("10.")?.strip_suffix(".0.0/16"));
    let mut octets: Vec<u8> = ranges.filter_map(|octet| octet.parse().ok()).collect();
    octets.sort_unstable();
    octets.dedup();
    octets
}

/// Routing rules, as `ip rule add` takes them: no packet gets from one network of
/// the range into another. This is not done with iptables, which may also see
/// frames within a bridge. Without working iptables rules, nothing gets into the
/// range at all.
pub fn routing(octet: u8, connected: bool) -> [String; 2] {
    let range = format!("10.{octet}.0.0/16");
    let [first, second] = preferences(octet);
    let between = if connected { format!("from {range} to {range}") } else { format!("to {range}") };
    [format!("pref {first} {between} iif lo lookup main"), format!("pref {second} {between} prohibit")]
}

/// The preferences of a range's routing rules.
fn preferences(octet: u8) -> [u32; 2] {
    let first = PREFERENCE + 2 * u32::from(octet);
    [first, first + 1]
}

/// The preference of each of a range's routing rules in a listing
/// (`ip rule show`), as often as it occurs, to delete them all.
pub fn placed(listing: &str, octet: u8) -> Vec<String> {
    let range = format!("10.{octet}.0.0/16");
    let of_range = |line: &&str| line.contains(&format!("to {range} "));
    let place = |line: &str| line.split_once(':').map(|(place, _)| place.trim().to_owned());
    let known = preferences(octet).map(|place| place.to_string());
    listing.lines().filter(of_range).filter_map(place).filter(|place| known.contains(place)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_found_by_the_whole_comment_however_it_is_written() {
        let listing = "\
-P FORWARD ACCEPT
-N DOCKER
-A FORWARD -s 10.213.0.0/16 -i xt1 -m comment --comment xtask-engine-xt1 -j ACCEPT
-A FORWARD -s 10.213.0.0/16 -m comment --comment \"xtask-engine-xt1\" -j ACCEPT
-A FORWARD -s 10.213.0.0/16 -m comment --comment xtask-engine-xt12 -j ACCEPT
-A FORWARD -m comment --comment \"not xtask-engine-xt1\" -j DROP
-A FORWARD -m comment --comment xtask-guard-xt1 -j DROP
-A FORWARD -i xtask-engine-xt1 -j ACCEPT
-A FORWARD -m comment --comment \"unclosed
";
        let found = deleting(listing, "filter", &[comment("xt1"), guard("xt1")]);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(
            found[0].join(" "),
            "-w 5 -t filter -D FORWARD -s 10.213.0.0/16 -i xt1 -m comment --comment xtask-engine-xt1 -j ACCEPT"
        );
        assert_eq!(deleting(listing, "filter", &[comment("xt")]), Vec::<Vec<String>>::new());
        assert!(!other_guard(listing, "xt1"));
        assert!(other_guard(listing, "xt12"));
        assert_eq!(octets(listing, "xt1"), [213]);
        assert_eq!(octets(listing, "xt2"), [0_u8; 0]);
    }

    #[test]
    fn what_lets_in_says_from_where_and_the_guard_stands_last() {
        let lines: Vec<_> = of_range("xt1", "10.213.0.0/16").iter().map(|rule| rule.adding().join(" ")).collect();
        let comment = "-m comment --comment xtask-engine-xt1";
        let back = "conntrack --ctstate RELATED,ESTABLISHED";
        let new = "conntrack ! --ctstate RELATED,ESTABLISHED";
        let range = "10.213.0.0/16";
        assert_eq!(
            lines,
            [
                format!("-w 5 -t nat -I POSTROUTING -s {range} ! -d {range} {comment} -j MASQUERADE"),
                format!("-w 5 -t filter -I FORWARD -s {range} -i br-+ {comment} -j ACCEPT"),
                format!("-w 5 -t filter -I FORWARD -s {range} -i xt1 {comment} -j ACCEPT"),
                format!("-w 5 -t filter -I FORWARD -d {range} -m {back} {comment} -j ACCEPT"),
                format!("-w 5 -t mangle -I FORWARD ! -s {range} -d {range} -m {new} {comment} -j DROP"),
                format!("-w 5 -t filter -I INPUT ! -s {range} -d {range} ! -i lo {comment} -j DROP"),
            ]
        );

        let guard = of_guard("xt1", &["eth1".to_owned()], true);
        let words: Vec<_> = guard.iter().map(|it| it.words.as_str()).collect();
        assert_eq!(
            words,
            [
                "-i eth1 -m comment --comment xtask-guard-xt1 -j RETURN",
                "-m physdev ! --physdev-is-bridged -m comment --comment xtask-guard-xt1 -j DROP",
            ]
        );
        assert!(guard.iter().all(|it| it.last && it.adding()[4] == "-A"));
        assert_eq!(of_guard("xt1", &[], false)[0].words, "-m comment --comment xtask-guard-xt1 -j DROP");
    }

    #[test]
    fn routing_rules_are_those_of_the_range_at_their_own_places() {
        assert_eq!(
            routing(213, true),
            [
                "pref 21426 from 10.213.0.0/16 to 10.213.0.0/16 iif lo lookup main",
                "pref 21427 from 10.213.0.0/16 to 10.213.0.0/16 prohibit",
            ]
        );
        assert_eq!(routing(213, false)[1], "pref 21427 to 10.213.0.0/16 prohibit");
        let listing = "\
0:\tfrom all lookup local
21426:\tfrom 10.213.0.0/16 to 10.213.0.0/16 iif lo lookup main
21427:\tfrom 10.213.0.0/16 to 10.213.0.0/16 prohibit
21427:\tfrom 10.213.0.0/16 to 10.213.0.0/16 prohibit
21427:\tfrom all to 10.214.0.0/16 prohibit
30000:\tfrom all to 10.213.0.0/16 lookup vpn
32766:\tfrom all lookup main
";
        assert_eq!(placed(listing, 213), ["21426", "21427", "21427"]);
        assert_eq!(placed(listing, 214), Vec::<String>::new());
    }
}
