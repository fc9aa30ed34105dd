//! Evaluates the answers of a container, without asking it.

use crate::cmd::objects::docker::{Check, CheckName, Checked, Proof, Proved, Servers};
use crate::model::bytes::Bytes;

/// With all its servers, or if it needs none, it must answer 200.
pub fn must_serve(needs: &[String], with_needs: bool) -> bool {
    with_needs || needs.is_empty()
}

/// The servers next to it.
pub fn servers(needs: &[String], with_needs: bool) -> Servers {
    match (needs.is_empty(), with_needs) {
        (true, _) => Servers::Nothing,
        (_, true) => Servers::Needs,
        (_, false) => Servers::NoNeeds,
    }
}

/// Evaluates a health answer: the status and, without the servers it needs, their
/// names.
/// it needs, their names.
pub fn of_answer(path: &str, needs: &[String], healthy: bool, answer: (u16, &str)) -> Vec<(Checked, bool, String)> {
    let (status, text) = answer;
    let expected = if healthy { 200 } else { 503 };
    let detail = format!("expected {expected} from {path}, got {status} {text}");
    let mut checks = vec![(Checked::Health, status == expected, detail)];
    if !healthy {
        let unnamed: Vec<&str> = needs.iter().map(String::as_str).filter(|need| !text.contains(need)).collect();
        let detail = match unnamed.as_slice() {
            [] => needs.join(", "),
            unnamed => format!("expected {} in the answer, got {text}", unnamed.join(", ")),
        };
        checks.push((Checked::NamesMissing, unnamed.is_empty(), detail));
    }
    checks
}

/// The check of the size against the limit.
pub fn of_size(bytes: Bytes, budget: Bytes) -> Check {
    let name = CheckName { what: Checked::Size, servers: Servers::Nothing };
    Check { name, passed: bytes <= budget, detail: format!("{bytes} of at most {budget}") }
}

impl Proof {
    /// Whether all checks passed. No checks prove nothing.
    pub fn holds(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.passed)
    }

    /// Whether the log of the container may explain a failure.
    pub fn asks_the_log(&self) -> bool {
        self.log.is_empty() && self.checks.iter().any(|check| !check.passed && check.name.what != Checked::Size)
    }
}

impl Proved {
    /// All proofs, in the order of their names, whichever ended first.
    pub fn of(mut results: Vec<Proof>) -> Self {
        results.sort_by(|a, b| (&a.service, &a.role).cmp(&(&b.service, &b.role)));
        Self { passed: results.iter().all(|proof| proof.passed), results }
    }

    /// How many containers did not prove their image.
    pub fn failed(&self) -> usize {
        self.results.iter().filter(|proof| !proof.passed).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn who_lacks_what_it_needs_must_say_so_and_who_does_not_must_serve() {
        for (names, with_needs, serves, expected) in [
            (&[][..], false, true, Servers::Nothing),
            (&[], true, true, Servers::Nothing),
            (&["redis"], true, true, Servers::Needs),
            (&["redis"], false, false, Servers::NoNeeds),
        ] {
            let names = needs(names);
            assert_eq!((must_serve(&names, with_needs), servers(&names, with_needs)), (serves, expected), "{names:?}");
        }
    }

    #[test]
    fn an_answer_has_the_right_status_and_names_what_is_missing() {
        let both = needs(&["postgres", "redis"]);
        for (healthy, answer, expected) in [
            (true, (200, "ok"), &[(true, "expected 200 from /health, got 200 ok")][..]),
            (true, (503, "no"), &[(false, "expected 200 from /health, got 503 no")]),
            (true, (201, ""), &[(false, "expected 200 from /health, got 201 ")]),
            (
                false,
                (503, "redis, postgres"),
                &[(true, "expected 503 from /health, got 503 redis, postgres"), (true, "postgres, redis")],
            ),
            (
                false,
                (200, "redis"),
                &[
                    (false, "expected 503 from /health, got 200 redis"),
                    (false, "expected postgres in the answer, got redis"),
                ],
            ),
        ] {
            let found = of_answer("/health", &both, healthy, answer);
            let found: Vec<(bool, &str)> = found.iter().map(|(_, passed, detail)| (*passed, detail.as_str())).collect();
            assert_eq!(found, expected, "{healthy} {answer:?}");
        }
    }

    #[test]
    fn a_proof_holds_by_all_of_its_checks() {
        let size = |bytes| of_size(Bytes(bytes), Bytes(7));
        let health = |passed| Check {
            name: CheckName { what: Checked::Health, servers: Servers::Nothing },
            passed,
            detail: String::new(),
        };
        for (checks, log, holds, asks) in [
            (vec![], "", false, false),
            (vec![size(6), health(true)], "", true, false),
            (vec![size(7)], "", true, false),
            (vec![size(8), health(true)], "", false, false),
            (vec![size(7), health(false)], "", false, true),
            (vec![health(false), health(true)], "it said", false, false),
        ] {
            let proof = Proof { checks, log: log.into(), ..Proof::default() };
            assert_eq!((proof.holds(), proof.asks_the_log()), (holds, asks), "{proof:?}");
        }
    }

    #[test]
    fn images_are_proved_by_all_of_their_containers() {
        let proof = |service: &str, role: Option<&str>, passed| Proof {
            service: service.into(),
            role: role.map(str::to_owned),
            passed,
            ..Proof::default()
        };
        for (proofs, passed, failed) in [
            (vec![proof("web", None, true), proof("api", None, true)], true, 0),
            (vec![proof("web", None, true), proof("api", None, false)], false, 1),
            (vec![proof("api", Some("b"), false), proof("api", Some("a"), false)], false, 2),
        ] {
            let proved = Proved::of(proofs);
            assert_eq!((proved.passed, proved.failed()), (passed, failed), "{proved:?}");
            assert!(proved.results.is_sorted_by_key(|proof| (proof.service.clone(), proof.role.clone())));
        }
    }
}
