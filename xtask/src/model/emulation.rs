//! Which step takes an emulator, in words: where a builder can't run it, and where
//! what a service publishes would need one.

use docker_context::dockerfile::platforms::Foreign;

use crate::model::config::Service;
use crate::model::diagnostic::Diagnostic;
use crate::model::platform::Platform;

/// What a builder runs, by `docker buildx inspect`: its own machines' platforms,
/// and those that an emulator is registered for.
pub fn runs(inspected: &str) -> Vec<&str> {
    let lines = inspected.lines().filter_map(|line| line.strip_prefix("Platforms:"));
    // `*`: its owner says so, and nobody has looked.
    lines.flat_map(|line| line.split(',')).map(|name| name.trim().trim_end_matches('*')).collect()
}

/// The step that a builder can't run, with what else could be done about it.
pub fn refused(dockerfile: &str, foreign: &[Foreign], runs: &[&str]) -> Option<Diagnostic> {
    let it = foreign.iter().find(|it| !runs.contains(&it.platform.as_str()))?;
    let Foreign { stage, line, instruction, platform } = it;
    let message = format!("stage `{stage}` runs something on {platform}, which this builder can't: `{instruction}`");
    Some(Diagnostic::new(message).of(dockerfile).line(*line).help(format!(
        "`--platform=$BUILDPLATFORM` in the FROM of what it is built on, and copy what it makes; or an emulator: \
         `cargo xtask setup --emulator`; or a builder on such a machine: `--builder NAME` (it runs {})",
        runs.join(", ")
    )))
}

/// The same where nobody asks a builder: what a service publishes takes one.
pub fn finding(service: &Service, builder: &Platform, it: &Foreign) -> Diagnostic {
    let Foreign { stage, line, instruction, platform } = it;
    let message = format!(
        "`{}`: stage `{stage}` runs something on {platform}, which takes an emulator on {builder}: `{instruction}`",
        service.name
    );
    Diagnostic::new(message).of(service.dockerfile.as_str()).line(*line).help(format!(
        "`--platform=$BUILDPLATFORM` in the FROM of what it is built on, and copy what it makes; or, where that is \
         meant, `emulate = true` in `[services.{}]`",
        service.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::Project;

    fn foreign(stage: &str, line: usize, platform: &str) -> Foreign {
        Foreign { stage: stage.into(), line, instruction: "RUN make".into(), platform: platform.into() }
    }

    #[test]
    fn an_emulator_is_asked_for_where_a_step_takes_one_and_nowhere_else() {
        let text = "Name:   x\nDriver: docker\n\nNodes:\nName:             a\n\
            Platforms:        linux/amd64*, linux/amd64/v2\nName: b\nPlatforms: linux/arm/v7\n";
        assert_eq!(runs(text), ["linux/amd64", "linux/amd64/v2", "linux/arm/v7"]);
        assert_eq!(runs("Nodes:\n"), Vec::<&str>::new());
        for (needed, expected) in [
            (&[][..], None),
            (&["linux/arm/v7"], None),
            (&["linux/arm64"], Some(1)),
            (&["linux/arm/v7", "linux/s390x", "linux/riscv64"], Some(2)),
        ] {
            let needed: Vec<Foreign> = (1..).zip(needed).map(|(at, it)| foreign("made", at, it)).collect();
            let found = refused("a/Dockerfile", &needed, &runs(text));
            assert_eq!(found.as_ref().and_then(|found| found.line), expected, "{needed:?}");
        }
        let found = refused("a/Dockerfile", &[foreign("made", 7, "linux/arm64")], &runs(text)).unwrap();
        expect_test::expect![
            "a/Dockerfile:7: stage `made` runs something on linux/arm64, which this builder can't: `RUN make`"
        ]
        .assert_eq(&found.to_string());
        assert!(found.help.unwrap().ends_with("`--builder NAME` (it runs linux/amd64, linux/amd64/v2, linux/arm/v7)"));
    }

    #[test]
    fn a_finding_says_whose_image_takes_an_emulator_and_how_that_is_meant() {
        let text = "[project]\nname = \"x\"\nregistry = \"ghcr.io\"\nowner = \"o\"\n\
            [services.app]\nimage = \"app\"\npaths = [\"**\"]\ndockerfile = \"a/Dockerfile\"\n";
        let project = Project::parse("services.toml".into(), text).unwrap();
        let builder = "linux/amd64".parse().unwrap();
        let found = finding(&project.services["app"], &builder, &foreign("made", 7, "linux/arm64"));
        expect_test::expect!["a/Dockerfile:7: `app`: stage `made` runs something on linux/arm64, which takes an emulator on linux/amd64: `RUN make`"]
            .assert_eq(&found.to_string());
        assert!(found.help.unwrap().ends_with("`emulate = true` in `[services.app]`"));
    }
}
