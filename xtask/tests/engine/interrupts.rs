//! Ctrl-C while the engine is at work on what nobody waits for any more.

use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::Duration;

use super::common::demo::Demo;
use super::common::slow::Slow;
use super::common::{exit, stderr};
use xtask::exec::signal;

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn what_the_engine_was_asked_to_make_when_ctrl_c_came_does_not_stay() {
    let demo = Demo::new("late").simple("[services.app.test]\npart = \"own\"\ntarget = \"app\"\n");
    exit(&demo.run(&["docker", "app"]), 0);
    let test = &["docker", "test", "app", "--no-build", "--with-deps"][..];
    let up = &["docker", "up", "--no-build"][..];
    let own = &["test", "own"][..];
    let (soon, late) = (Duration::from_secs(1), Duration::from_secs(7));
    for (args, path, wait) in [
        (test, "/containers/create", soon),
        (test, "/networks/create", soon),
        (test, "/start", soon),
        (up, "/containers/create", soon),
        (up, "/networks/create", soon),
        (own, "/containers/create", soon),
        // The client is ended before the engine has begun.
        (test, "/containers/create", late),
        (up, "/networks/create", late),
    ] {
        let slow = Slow::new(&demo.dir, path, wait);
        let mut command = demo.command(args);
        slow.lead(&mut command);
        // As a terminal sends it: to all of the group.
        let child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        slow.until_one_waits();
        signal::send_group(signal::Signal::Interrupt, child.id());
        let output = child.wait_with_output().unwrap();
        exit(&output, 130);
        slow.until_all_passed();
        let is_image = |line: &String| line.contains("-app ") || line.contains("-app-test ");
        let left: Vec<String> = demo.left().into_iter().filter(|line| !is_image(line)).collect();
        assert_eq!(left, Vec::<String>::new(), "{args:?} {path} {wait:?}: {}", stderr(&output));
    }
}
