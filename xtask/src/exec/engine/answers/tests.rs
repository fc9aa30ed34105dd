//! Answers of engine 26.1.5, without the fields that nobody reads, from both
//! image stores where they differ.

use std::fmt::Debug;

use serde::de::DeserializeOwned;

use super::*;

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"))
}

const CONTAINERD: &str = r#"{"Id":"sha256:df31","RepoTags":["demo:1"],"RepoDigests":["demo@sha256:df31"],"Parent":"",
    "Config":{"User":"1000","Env":["PATH=/bin","A=b=c"],"Cmd":["redis-server"],"OnBuild":["RUN true"],
    "Labels":{"infinite-scribe.service":"x"}},"Architecture":"amd64","Os":"linux","Size":46501291,
    "GraphDriver":{"Data":null,"Name":"overlayfs"},"RootFS":{"Type":"layers","Layers":["sha256:d0ca","sha256:82b1"]}}"#;
/// An image without a name, labels or variables, for another platform.
const CLASSIC: &str = r#"{"Id":"sha256:5c53","RepoTags":[],"RepoDigests":[],"Config":{"Env":["PATH=/bin"],"Cmd":null,
    "OnBuild":null,"Labels":null},"Architecture":"arm64","Os":"linux","Size":110,
    "RootFS":{"Type":"layers","Layers":["sha256:788c"]}}"#;

const RUNNING: &str = r#"{"Id":"7719","State":{"Status":"running","Running":true,"OOMKilled":false,"Pid":1117,
    "ExitCode":0},"Image":"sha256:df31","HostConfig":{"ReadonlyRootfs":true},
    "NetworkSettings":{"Ports":{"6379/tcp":[{"HostIp":"127.0.0.1","HostPort":"32768"}],"80/tcp":null}}}"#;
const ENDED: &str = r#"{"Id":"17f8","State":{"Status":"exited","Running":false,"OOMKilled":true,"Pid":0,"ExitCode":137},
    "HostConfig":{"ReadonlyRootfs":false},"NetworkSettings":{"Ports":{}}}"#;

const LISTED: &str = r#"[{"Id":"7719","Names":["/h6c"],"Image":"demo:1","ImageID":"sha256:df31","Created":1795529095,
    "Ports":[],"SizeRw":4096,"SizeRootFs":154521600,"Labels":{"infinite-scribe.checkout":"h6"},"State":"running"},
    {"Id":"bdd8","Names":["/h6d"],"ImageID":"sha256:b129","Created":1795529128,"Labels":{},"State":"created"}]"#;

const IMAGES: &str = r#"[{"Containers":-1,"Created":1795529127,"Id":"sha256:0788","Labels":null,"ParentId":"",
    "RepoTags":["h6multi:1"],"SharedSize":16384,"Size":18662},
    {"Containers":-1,"Created":-62135596800,"Id":"sha256:5c1f","Labels":{"a":"b"},"RepoTags":[],"SharedSize":-1,"Size":110}]"#;

const NETWORK: &str =
    r#"{"Name":"h6n","Id":"936f","Created":"2026-11-23T23:40:06.530633882Z","Scope":"local","Labels":{}}"#;

const TOP: &str = r#"{"Processes":[["1117","1000","1000","1000","redis-server"]],
    "Titles":["PID","EUID","RUID","SUID","COMMAND"]}"#;

const INFO: &str = r#"{"Driver":"overlayfs","DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]],
    "DockerRootDir":"/var/lib/docker"}"#;
const CLASSIC_INFO: &str = r#"{"Driver":"overlay2","DriverStatus":[["Backing Filesystem","extfs"],
    ["Supports d_type","true"]],"DockerRootDir":"/var/lib/docker"}"#;
const VERSION: &str = r#"{"Version":"26.1.5+dfsg1","ApiVersion":"1.45","Os":"linux","Arch":"amd64"}"#;
const HISTORY: &str = r#"[{"CreatedBy":"USER 1000","Id":"sha256:df31","Size":0,"Tags":["demo:1"]},
    {"CreatedBy":"ADD root.tar / # buildkit","Id":"<missing>","Size":146952192,"Tags":null}]"#;

#[test]
fn an_image_is_read_from_both_stores() {
    let image: Image = read(CONTAINERD);
    assert_eq!((image.id.as_str(), image.platform().as_str()), ("sha256:df31", "linux/amd64"));
    assert_eq!((image.repo_tags.as_slice(), image.layers()), (&["demo:1".to_owned()][..], &image.root_fs.layers[..]));
    assert_eq!(image.layers(), ["sha256:d0ca", "sha256:82b1"]);
    assert_eq!(image.config.labels["infinite-scribe.service"], "x");
    assert_eq!(
        (image.config.env, image.config.on_build),
        (vec!["PATH=/bin".into(), "A=b=c".into()], vec!["RUN true".into()])
    );
    let image: Image = read(CLASSIC);
    assert_eq!(image.platform(), "linux/arm64");
    let older = CLASSIC.replace("\"arm64\"", "\"arm\",\"Variant\":\"v7\"");
    assert_eq!(read::<Image>(&older).platform(), "linux/arm/v7");
    assert_eq!((image.repo_tags.len(), image.config.labels.len(), image.config.on_build.len()), (0, 0, 0));
    // From engine 29.
    assert_eq!(read::<ImageConfig>("{}"), ImageConfig::default());
}

#[test]
fn a_container_says_how_it_is_and_where_it_listens() {
    let it: Container = read(RUNNING);
    assert_eq!((it.port(6379), it.port(80), it.port(1)), (Some(32768), None, None));
    assert!(it.state.running && !it.state.oom_killed && it.is_read_only());
    let it: Container = read(ENDED);
    assert_eq!((it.port(6379), it.state.exit_code), (None, 137));
    assert!(!it.state.running && it.state.oom_killed && !it.is_read_only());
    let not_yet: Container = read(&RUNNING.replace("32768", ""));
    assert_eq!(not_yet.port(6379), None);
}

#[test]
fn lists_say_what_there_is() {
    let containers: Vec<ListedContainer> = read(LISTED);
    let told: Vec<_> = containers.iter().map(|it| (it.name(), it.written, it.created(), it.state)).collect();
    assert_eq!(
        told,
        [(Some("h6c"), 4096, 1_795_529_095, Does::Running), (Some("h6d"), 0, 1_795_529_128, Does::Created)]
    );
    assert_eq!(containers[0].labels["infinite-scribe.checkout"], "h6");
    assert_eq!(read::<Vec<ListedContainer>>(&LISTED.replace("[\"/h6c\"]", "null"))[0].name(), None);
    let images: Vec<ListedImage> = read(IMAGES);
    let told: Vec<_> = images.iter().map(|it| (it.own_bytes(), it.created(), it.labels.len())).collect();
    assert_eq!(told, [(2278, 1_795_529_127, 0), (110, 0, 1)]);
    assert_eq!(read::<Network>(NETWORK).created, 1_795_477_206);
    assert_eq!(read::<Vec<Layer>>(HISTORY).iter().map(|it| it.size).sum::<u64>(), 146_952_192);
    assert_eq!(read::<Top>(TOP).processes[0][4], "redis-server");
    assert_eq!(read::<Version>(VERSION).platform(), "linux/amd64");
    let stores = [INFO, CLASSIC_INFO, &CLASSIC_INFO.replace("[[\"Backing", "null,\"x\":[[\"Backing")];
    assert_eq!(stores.map(|text| read::<Info>(text).is_containerd_store()), [true, false, false]);
}

#[test]
fn what_runs_may_be_in_use_and_so_may_what_nobody_knows() {
    for (word, runs) in [
        ("created", false),
        ("running", true),
        ("paused", true),
        ("restarting", true),
        ("removing", false),
        ("exited", false),
        ("dead", false),
        ("hibernating", true),
    ] {
        assert_eq!(read::<Does>(&format!("\"{word}\"")).runs(), runs, "{word}");
    }
}

/// Without any one of these fields there is no answer, and the error names the
/// field.
#[test]
fn an_answer_without_a_field_names_it() {
    fn lacking<T: DeserializeOwned + Debug>(text: &str, fields: &[&str]) {
        for field in fields {
            let other = text.replacen(&format!("\"{field}\":"), "\"Other\":", 1);
            let why = serde_json::from_str::<T>(&other).unwrap_err().to_string();
            assert!(why.starts_with(&format!("missing field `{field}`")), "{field}: {why}");
        }
    }
    lacking::<Image>(CONTAINERD, &["Id", "RepoTags", "Config", "Architecture", "Os", "RootFS"]);
    lacking::<Container>(RUNNING, &["Id", "State", "Running", "OOMKilled", "ExitCode", "HostConfig"]);
    lacking::<Container>(RUNNING, &["ReadonlyRootfs", "NetworkSettings", "Ports", "HostPort"]);
    lacking::<Vec<ListedContainer>>(LISTED, &["Id", "Names", "ImageID", "Created", "Labels", "State"]);
    lacking::<Vec<ListedImage>>(IMAGES, &["Id", "RepoTags", "Labels", "Created", "Size", "SharedSize"]);
    lacking::<Network>(NETWORK, &["Id", "Name", "Labels", "Created"]);
    lacking::<Top>(TOP, &["Titles", "Processes"]);
    lacking::<Info>(INFO, &["DriverStatus", "DockerRootDir"]);
    lacking::<Version>(VERSION, &["Version", "Os", "Arch"]);
    lacking::<Vec<Layer>>(HISTORY, &["Size"]);
}

#[test]
fn a_time_is_seconds_or_an_error() {
    for (text, expected) in [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("2000-02-29T12:00:00.5Z", Some(951_825_600)),
        ("2026-11-23T23:40:06.123456789Z", Some(1_795_477_206)),
        ("0001-01-01T00:00:00Z", Some(0)),
        ("2026-11-23", None),
        ("2026-11-23T23:40:ü", None),
        ("nonsense, and more of it", None),
        ("", None),
    ] {
        assert_eq!(seconds(text), expected, "{text}");
    }
    let why = serde_json::from_str::<Network>(&NETWORK.replace("2026", "x")).unwrap_err().to_string();
    assert!(why.contains("is no time like 2026-11-23T23:40:06Z"), "{why}");
    let why = serde_json::from_str::<Container>(&RUNNING.replace("32768", "http")).unwrap_err().to_string();
    assert!(why.contains("`http` is no port"), "{why}");
}
