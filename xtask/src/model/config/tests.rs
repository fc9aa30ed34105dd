//! Valid and invalid services.toml files. Each invalid one comes with its
//! message, in the order of docs/services-toml.md.

use expect_test::{Expect, expect, expect_file};

use super::*;

/// Line 1 is `[project]`.
const GOOD: &str = r#"[project]
name = "demo"
registry = "ghcr.io"
owner = "demo"

[needs.redis]
image = "redis:7"
port = 6379
ready = ["redis-cli", "ping"]
provides = { REDIS_URL = "redis://redis" }

[services.api]
image = "demo-api"
paths = ["api/**", "!api/tests/**"]

[services.api.run]
port = 80
health = "/health"
needs = ["redis"]
"#;

/// Every wrong change of the file above: the text that is replaced (empty:
/// appended at the end), and its replacement.
const WRONG: &[(&str, &str)] = &[
    ("owner = \"demo\"", "ownr = \"demo\""),
    ("[project]", "[project"),
    ("[project]", "[[project]]"),
    ("\"demo\"\nregistry", "\"a/b\"\nregistry"),
    ("\"demo\"\nregistry", "\"\"\nregistry"),
    ("\"demo\"\nregistry", "7\nregistry"),
    ("ghcr.io", "https://ghcr.io"),
    ("ghcr.io", "ghcr.io:0"),
    ("owner = \"demo\"", "owner = \"Demo\""),
    ("owner = \"demo\"", "owner = \"demo\"\ndefault-branch = \"-q\""),
    ("owner = \"demo\"", "owner = \"demo\"\ndefault-branch = \"\""),
    ("owner = \"demo\"", "owner = \"demo\"\ndefault-branch = \"a..b\""),
    ("owner = \"demo\"", "owner = \"demo\"\ndefault-branch = \"refs/heads/main\""),
    ("owner = \"demo\"", "owner = \"demo\"\ndefault-branch = \"${{github.ref}}\""),
    ("owner = \"demo\"", "owner = \"demo\"\ntrust-bases = \"-1d\""),
    // [ci]
    ("", "[ci]\n"),
    ("", "[ci]\nbranches = []\n"),
    ("", "[ci]\nbranches = [\"!x\"]\n"),
    ("", "[ci]\nbranches = [\"main\", \"\", \"main\", \"a b\", \"${{ x }}\"]\n"),
    ("", "[ci]\nbranches = [\"main\"]\ncommands = \" \"\nlint = [\"\", \"A\", \"api\", \"a\", \"a\"]\n"),
    ("", "[[ci]]\nbranches = [\"main\"]\n"),
    // [services]
    ("[services.api]", "[[services.api]]"),
    ("[services.api]", "[[services]]"),
    ("services.api", "services.test"),
    ("services.api", "services.any"),
    ("services.api", "services.Api"),
    ("services.api", "services.api-"),
    ("services.api", "services.redis"),
    ("services.api", "services.\"a\\u0000\""),
    ("paths =", "titel = \"x\"\npaths ="),
    ("paths =", "title = \"\"\npaths ="),
    ("paths =", "title = \" a\"\npaths ="),
    ("paths =", "title = \"\"\"a\nb\"\"\"\npaths ="),
    ("paths =", "title = \"a\\u001b[31m\"\npaths ="),
    ("paths =", "title = \"a\\u202eb\"\npaths ="),
    ("paths =", "title = \"${{ secrets.X }}\"\npaths ="),
    ("paths =", "title = \"{{date}}\"\npaths ="),
    ("image = \"demo-api\"", ""),
    ("demo-api", "Demo"),
    ("demo-api", "ghcr.io/demo/api"),
    ("demo-api", "scratch"),
    ("paths =", "dockerfile = \"-\"\npaths ="),
    ("paths =", "dockerfile = \"a/\"\npaths ="),
    ("paths =", "dockerfile = \".\"\npaths ="),
    ("paths =", "dockerfile = \"https://x/y\"\npaths ="),
    ("paths =", "target = \"\"\npaths ="),
    ("paths =", "target = \"-a\"\npaths ="),
    ("paths =", "target = \"a b\"\npaths ="),
    ("paths =", "context = \"\"\npaths ="),
    ("paths =", "context = \"../x\"\npaths ="),
    ("paths =", "context = \"/x\"\npaths ="),
    ("paths =", "context = \"-\"\npaths ="),
    ("paths =", "context = \"./-\"\npaths ="),
    ("paths =", "context = \"-f\"\npaths ="),
    ("paths =", "context = \"git@github.com:a/b\"\npaths ="),
    ("paths =", "context = \"github.com/a/b\"\npaths ="),
    ("paths =", "context = \"./github.com/a/b\"\npaths ="),
    ("paths =", "context = \"https://x/y.git\"\npaths ="),
    ("paths =", "context = \"git://x/y\"\npaths ="),
    ("paths =", "context = \"ssh://x/y\"\npaths ="),
    ("paths =", "context = \"oci-layout://x\"\npaths ="),
    ("paths =", "context = \"docker-image://x\"\npaths ="),
    ("paths =", "context = \"target:x\"\npaths ="),
    ("paths =", "context = \"a \"\npaths ="),
    ("\"api/**\", ", ""),
    ("[\"api/**\", \"!api/tests/**\"]", "[]"),
    ("[\"api/**\", \"!api/tests/**\"]", "\"api/**\""),
    ("[\"api/**\"", "[\"/api/**\", \"\", \"b\""),
    ("paths =", "platforms = []\npaths ="),
    ("paths =", "platforms = [\"arm\"]\npaths ="),
    ("paths =", "platforms = [\"linux/arm64\", \"linux/amd64\", \"linux/arm64/v8\"]\npaths ="),
    ("paths =", "emulate = \"yes\"\npaths ="),
    ("paths =", "workflow = \"\"\npaths ="),
    ("paths =", "workflow = \"ci.yml\"\npaths ="),
    ("paths =", "workflow = \"docker-image\"\npaths ="),
    ("paths =", "size-budget = \"big\"\npaths ="),
    ("paths =", "size-budget = \"0 MB\"\npaths ="),
    // [services.NAME.run]
    ("port = 80\n", "port = 0\n"),
    ("port = 80\n", "port = 80000\n"),
    ("port = 80\n", "port = -1\n"),
    ("port = 80\n", "port = \"80\"\n"),
    ("/health", "health"),
    ("/health", "/a b"),
    ("/health", "/a#b"),
    ("/health", "/a\\r\\nHost: x"),
    ("port = 80\n", "port = 80\nroles = [\"\"]\n"),
    ("port = 80\n", "port = 80\nroles = [\"a b\", \"-a\", \"a\", \"a\"]\n"),
    ("port = 80\n", "port = 80\nroles = [\"redis\"]\n"),
    ("port = 80\n", "port = 80\nroles = [\"a\", \"api\"]\n"),
    ("needs = [\"redis\"]", "needs = [\"kafka\"]"),
    ("needs = [\"redis\"]", "needs = [\"redis\", \"redis\"]"),
    ("port = 80\n", "port = 80\nenv = { \"\" = \"a\", \"A=B\" = \"\", \"1\" = \"\" }\n"),
    ("port = 80\n", "port = 80\nenv = { A = \"\\u0000\" }\n"),
    ("port = 80\n", "port = 80\nenv = { A = 1 }\n"),
    ("port = 80\n", "port = 80\nup-env = { \"A B\" = \"a\" }\n"),
    ("port = 80\n", "port = 80\nenv = { A = \"a\" }\npass-env = [\"A\", \"B\", \"B\", \"C=D\"]\n"),
    ("port = 80\n", "port = 80\nready-seconds = 0\n"),
    ("port = 80\n", "port = 80\nready-seconds = 100000\n"),
    // [services.NAME.test]
    ("", "[services.api.test]\ntarget = \"\"\n"),
    ("", "[services.api.test]\ntarget = \"t\"\npart = \"images\"\n"),
    ("", "[services.api.test]\ntarget = \"t\"\npart = \"--setup\"\n"),
    ("", "[services.api.test]\ntarget = \"t\"\npart = \"${{ x }}\"\n"),
    ("", "[services.api.test]\ntarget = \"redis\"\nneeds = [\"redis\"]\n"),
    ("", "[services.rust]\nimage = \"r\"\npaths = [\"r\"]\n[services.rust.test]\ntarget = \"r\"\n"),
    // [needs.NAME]
    ("needs.redis", "needs.Redis"),
    ("image = \"redis:7\"", "image = \"\""),
    ("image = \"redis:7\"", "image = \"redis:7 HTTP/1.1\""),
    ("image = \"redis:7\"", "image = \"redis HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nPOST /containers/create\""),
    ("port = 6379", "port = 0"),
    ("ready = [\"redis-cli\", \"ping\"]", "ready = []"),
    ("ready = [\"redis-cli\", \"ping\"]", "ready = [\"\"]"),
    ("ready = [\"redis-cli\", \"ping\"]", "ready = [\"-c\"]"),
    ("ready = [\"redis-cli\", \"ping\"]", "ready = [\"a\\u0007\"]"),
    ("REDIS_URL =", "\"REDIS URL\" ="),
    // Between tables.
    ("", "[services.b]\nimage = \"demo-api\"\npaths = [\"b\"]\n"),
    ("", "[services.b]\nimage = \"b\"\npaths = [\"b\"]\nworkflow = \"api-docker-build\"\n"),
    ("", "[services.b]\nimage = \"b\"\npaths = [\"b\"]\nworkflow = \"API-docker-build\"\n"),
    (
        "port = 80\n",
        "port = 80\nroles = [\"a\"]\nhealth = \"/\"\n[services.b]\nimage = \"b\"\npaths = [\"b\"]\n[services.b.run]\nroles = [\"a\", \"api\"]\nport = 8\n",
    ),
    (
        "",
        "[services.b]\nimage = \"b\"\npaths = [\"b\"]\n[services.b.run]\nroles = [\"api\"]\nport = 8\nhealth = \"/\"\n",
    ),
    (
        "needs = [\"redis\"]",
        "needs = [\"redis\", \"valkey\"]\n[needs.valkey]\nimage = \"v\"\nport = 1\nready = [\"x\"]\nprovides = { REDIS_URL = \"y\" }\n",
    ),
    ("services.api.run", "services.b.run"),
];

#[test]
fn what_is_wrong_is_refused_at_its_line() {
    let mut told = String::new();
    for (from, to) in WRONG {
        assert!(GOOD.contains(from), "{from}");
        let text = if from.is_empty() { format!("{GOOD}{to}") } else { GOOD.replace(from, to) };
        match Project::parse("services.toml".into(), &text) {
            Err(fault) => {
                told.push_str(&format!("{from:?} -> {to:?}\n{fault}\n\n"));
            }
            Ok(_) => panic!("{to} is accepted"),
        }
    }
    expect_file!["wrong.txt"].assert_eq(&told);
}

#[test]
fn a_right_file_is_read_with_its_defaults() {
    let project = Project::parse("services.toml".into(), GOOD).unwrap();
    let api = project.service("api").unwrap();
    assert_eq!((api.dockerfile.as_str(), api.context.as_str(), api.title.as_str()), ("Dockerfile", ".", "api"));
    assert_eq!((project.default_branch.as_str(), api.run.as_ref().unwrap().ready_seconds), ("main", 30));
    assert_eq!((&api.path_lines[..], api.lines.table, api.lines.context), (&[14, 14][..], 12, None));
    assert!(project.service("ap").is_err());
}

#[test]
fn what_is_right_is_not_refused() {
    for (from, to) in [
        ("ghcr.io", "127.0.0.1:5000/mirror"),
        ("owner = \"demo\"", "owner = \"a/b\"\ndefault-branch = \"release/1.x\"\ntrust-bases = \"0s\""),
        ("demo-api", "team/demo_api"),
        (
            "paths =",
            "context = \"./apps//api/\"\ndockerfile = \"docker/Dockerfile.prod\"\ntarget = \"Api_1.x\"\npaths =",
        ),
        ("paths =", "target = \"0\"\ntitle = \"An: Api # 1, ä ${x}\"\nworkflow = \"CI_2\"\npaths ="),
        ("port = 80\n", "port = 65535\nroles = [\"api\", \"worker-1\"]\nready-seconds = 3600\n"),
        ("/health", "/v1/health?deep=1&x=%20"),
        (
            "port = 80\n",
            "port = 80\nenv = { _A = \"\", spring.url = \"b\" }\n".replace("spring.url", "\"spring.url\"").leak(),
        ),
        ("", "[ci]\nbranches = [\"main\", \"release/**\", \"!release/old\", \"v[0-9]+\"]\nlint = [\"lint-a\"]\n"),
        ("", "[services.api.test]\ntarget = \"t\"\npart = \"backend\"\nneeds = [\"redis\"]\n"),
        ("redis:7", "ghcr.io/x/redis:7@sha256:0000000000000000000000000000000000000000000000000000000000000000"),
    ] {
        let text = if from.is_empty() { format!("{GOOD}{to}") } else { GOOD.replace(from, to) };
        assert!(GOOD.contains(from), "{from}");
        if let Err(fault) = Project::parse("services.toml".into(), &text) {
            panic!("{to}: {fault}");
        }
    }
}

#[test]
fn all_that_is_wrong_is_told_in_one_run_by_line() {
    let text = GOOD.replace("ghcr.io", "x").replace("port = 80\n", "port = 0\n").replace("redis:7", "");
    let fault = Project::parse("services.toml".into(), &text).unwrap_err();
    expect![[r#"
        services.toml:3: `project.registry`: `x` is not a registry: HOST[:PORT][/PATH], as in `ghcr.io/owner` or `127.0.0.1:5000`
        services.toml:7: `needs.redis.image`: "" is not an image: expected [HOST[:PORT]/]NAME[:TAG][@DIGEST], as in `postgres:15`
        services.toml:17: `services.api.run.port`: expected a number from 1 to 65535"#]]
    .assert_eq(&fault.to_string());
    let many: String = (0..30).map(|at| format!("[services.s{at}]\nimage = \"A\"\npaths = [\"a\"]\n")).collect();
    let fault = Project::parse("services.toml".into(), &format!("{GOOD}{many}")).unwrap_err().to_string();
    assert_eq!(fault.lines().count(), 21, "{fault}");
    assert!(fault.ends_with("services.toml: and 39 more"), "{fault}");
}

#[test]
fn only_utf_8_is_read_and_the_rest_says_what_to_save_it_as() {
    let told = |bytes: &[u8], expected: &Expect| expected.assert_eq(&text(bytes.to_vec()).unwrap_err().to_string());
    let utf16: Vec<u8> = GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect();
    told(&utf16, &expect!["services.toml:1: it is UTF-16, or not text"]);
    told(&[b"\xff\xfe", &utf16[..]].concat(), &expect!["services.toml:1: it is UTF-16, or not text"]);
    told(b"\xfe\xff\0a", &expect!["services.toml:1: it is UTF-16, or not text"]);
    told(b"a = 1\nb = \"\xe9\"\n", &expect!["services.toml:2: the byte 0xE9 is not UTF-8"]);
    let marked = text([b"\xef\xbb\xbf", GOOD.as_bytes()].concat()).unwrap();
    assert!(Project::parse("services.toml".into(), &marked).is_ok(), "a byte order mark is UTF-8");
}

#[test]
fn more_patterns_than_anybody_waits_for_are_refused_with_the_bound() {
    let with = |count: usize| GOOD.replace("\"api/**\", ", &"\"a\", ".repeat(count));
    assert!(Project::parse("services.toml".into(), &with(999)).is_ok());
    let fault = Project::parse("services.toml".into(), &with(1000)).unwrap_err();
    expect!["services.toml:14: `services.api.paths`: 1001 patterns, of at most 1000; name folders (`src/**`) instead of files"]
        .assert_eq(&fault.to_string());
    let service = |at: usize| format!("[services.s{at}]\nimage = \"s{at}\"\npaths = [{}]\n", "\"a\",".repeat(1000));
    let fault = Project::parse("services.toml".into(), &format!("{GOOD}{}", (0..20).map(service).collect::<String>()));
    expect!["services.toml:1: 20002 patterns in all `paths`, of at most 20000; name folders (`src/**`) instead"]
        .assert_eq(&fault.unwrap_err().to_string());
    let long = GOOD.replace("api/**", &"a".repeat(4097));
    let fault = Project::parse("services.toml".into(), &long).unwrap_err().to_string();
    assert!(fault.ends_with("column 4097: no path is as long; write at most 4096 characters"), "{fault}");
}

#[test]
fn a_file_that_is_too_large_is_not_looked_at() {
    let text = format!("{GOOD}# {}\n", "x".repeat(1 << 20));
    let fault = Project::parse("services.toml".into(), &text).unwrap_err();
    expect!["services.toml: larger than 1 MiB, which is the limit"].assert_eq(&fault.to_string());
}

#[test]
fn no_service_has_a_name_that_means_something_else() {
    let said = |text: &str| Project::parse("services.toml".into(), text).unwrap_err().to_string();
    for name in OUTPUTS {
        let said = said(&GOOD.replace("services.api", &format!("services.{name}")));
        assert!(said.contains(&format!("`services.{name}`: `{name}` is an output")), "{said}");
    }
    // The names of verbs, and of future ones.
    let is_one = ["all", "clean", "down", "help", "test", "up", "verify"].map(|name| (name, "is a command already"));
    let is_to_be = "inspect logs promote restart sbom scan sh sign stats status";
    let is_to_be = is_to_be.split(' ').map(|name| (name, "is reserved for a future command"));
    for (name, why) in is_one.into_iter().chain(is_to_be) {
        let service = said(&GOOD.replace("services.api", &format!("services.{name}")));
        assert!(service.contains(&format!("`services.{name}`: `docker {name}` {why}")), "{service}");
        let need = format!("{GOOD}[needs.{name}]\nimage = \"x:1\"\nport = 1\nready = [\"x\"]\n");
        let need = said(&need);
        assert!(need.contains(&format!("`needs.{name}`: `docker {name}` {why}")), "{need}");
        let line = format!("services.toml:{}:", GOOD.lines().count() + 1);
        assert!(need.contains(&line), "{need}");
    }
    // Only the whole name of a verb counts.
    for name in ["tests", "log", "up-1", "scanner"] {
        Project::parse("services.toml".into(), &GOOD.replace("services.api", &format!("services.{name}"))).unwrap();
    }
    for part in ["fuzz", "images", "rust", "workflows"] {
        let text = said(&format!("{GOOD}[services.api.test]\ntarget = \"x\"\npart = \"{part}\"\n"));
        assert!(text.contains(&format!("`cargo xtask test {part}` is a part already")), "{text}");
    }
}

/// No text in a table causes a panic, and none with an invisible character
/// passes.
#[test]
fn no_text_panics_and_what_passes_can_be_seen() {
    crate::model::cases::cases(500, |u| {
        let (at, word): (usize, String) = (u.arbitrary()?, u.arbitrary()?);
        let texts: Vec<&str> = GOOD.split('"').skip(1).step_by(2).collect();
        let quoted = serde_json::json!(word).to_string();
        let text = GOOD.replacen(&format!("\"{}\"", texts[at % texts.len()]), &quoted, 1);
        if Project::parse("services.toml".into(), &text).is_ok() {
            assert!(!word.chars().any(values::is_hidden), "{word:?}");
        }
        Ok(())
    });
}

#[test]
fn services_are_all_of_them_or_those_that_are_named() {
    let text = format!("{GOOD}[services.web]\nimage = \"demo-web\"\npaths = [\"web/**\"]\n");
    let project = Project::parse("services.toml".into(), &text).unwrap();
    for (names, expected) in [
        (&[][..], Some(&["api", "web"][..])),
        (&["web"], Some(&["web"])),
        (&["web", "api"], Some(&["web", "api"])),
        (&["web", "ap"], None),
    ] {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let found = project.select(&names).ok();
        let found = found.map(|found| found.iter().map(|service| service.name.clone()).collect::<Vec<_>>());
        assert_eq!(found, expected.map(|all| all.iter().map(ToString::to_string).collect()), "{names:?}");
    }
}
