//! Asks a container what a load balancer and an orchestrator ask: does it answer,
//! and does it end on SIGTERM? Every wait has a time limit, and ends early if the
//! container ends.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::exec::container_guard::ContainerGuard;
use crate::exec::engine::answers::State;
use crate::exec::http::{self, ResponseLimits, Route};
use crate::exec::interrupt;
use crate::fault;
use crate::model::users;
use crate::plan::container::ContainerSpec;

/// How long a container may take to end after SIGTERM.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// The limits for a health answer.
const ANSWER: ResponseLimits = ResponseLimits { time: Duration::from_secs(5), bytes: 1024 * 1024 };

/// The result of waiting for a service.
#[derive(Debug)]
pub enum Readiness {
    /// It is healthy.
    Ready(http::Response),
    /// It is not; the text says why.
    Not(String),
}

/// Polls until the service is healthy, its time is over, or it has ended.
pub fn wait(
    guard: &ContainerGuard<'_>,
    container: &ContainerSpec<'_>,
    what: &str,
    healthy: bool,
) -> anyhow::Result<Readiness> {
    let run = container.run;
    let patience = Duration::from_secs(run.ready_seconds);
    let health = Route::written(&run.health).map_err(fault::usage)?;
    let started = Instant::now();
    let mut heard = Heard::default();
    loop {
        interrupt::check()?;
        let Some(state) = guard.state(what)? else { return Ok(Readiness::Not("the container is gone".into())) };
        if !state.running {
            let why = format!("the container ended with exit code {}{}", state.exit_code, oom(&state));
            return Ok(Readiness::Not(why));
        }
        if let Some(port) = guard.port(what, run.port)? {
            match ask(port, &health) {
                Ok(answer) if !healthy || answer.status == 200 => return Ok(Readiness::Ready(answer)),
                other => heard.take(other),
            }
        }
        if started.elapsed() > patience {
            return Ok(Readiness::Not(heard.verdict(run.port, &run.health, patience.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// What the service answered until its time was over. An answer says more than a
/// missing one, even if it came earlier: on a busy machine the last request often
/// gets none.
#[derive(Default)]
struct Heard {
    answer: Option<http::Response>,
    /// Why there was no answer since then.
    silence: Option<io::Error>,
}

impl Heard {
    fn take(&mut self, answer: io::Result<http::Response>) {
        match answer {
            Ok(answer) => *self = Self { answer: Some(answer), silence: None },
            Err(why) => self.silence = Some(why),
        }
    }

    fn verdict(&self, port: u16, health: &str, seconds: u64) -> String {
        let since = self.silence.as_ref().map(ToString::to_string);
        let Some(answer) = &self.answer else {
            let why = since.unwrap_or_else(|| "the port was never published".into());
            return format!("expected an answer on port {port} within {seconds} s, got none: {why}");
        };
        let since = since.map(|why| format!("; then no answer: {why}")).unwrap_or_default();
        format!("expected 200 from {health} within {seconds} s, got {} {}{since}", answer.status, answer.text())
    }
}

fn oom(state: &State) -> &'static str {
    if state.oom_killed { " (out of memory)" } else { "" }
}

fn ask(port: u16, path: &Route) -> io::Result<http::Response> {
    let open = move || {
        let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ANSWER.time)?;
        stream.set_read_timeout(Some(ANSWER.time))?;
        stream.set_write_timeout(Some(ANSWER.time))?;
        Ok(stream)
    };
    http::get(open, "localhost", path, ANSWER, interrupt::raised)
}

/// Waits for the first answer, whatever its status; for `bench`.
pub fn first_answer(guard: &ContainerGuard<'_>, container: &ContainerSpec<'_>) -> anyhow::Result<()> {
    let what = container.role.unwrap_or(&container.service.name);
    match wait(guard, container, what, false)? {
        Readiness::Ready(_) => Ok(()),
        Readiness::Not(why) => Err(fault::failed(why).into()),
    }
}

/// Stops a container and returns how long that took; for `bench`.
pub fn seconds_to_exit(guard: &ContainerGuard<'_>, what: &str) -> anyhow::Result<f64> {
    let started = Instant::now();
    match stop(guard, what)? {
        (true, _) => Ok(started.elapsed().as_secs_f64()),
        (false, why) => Err(fault::failed(why).into()),
    }
}

/// Whether no process of a container belongs to root, as the engine's kernel
/// numbers users. The image itself may have no shell to ask in.
pub fn not_root(guard: &ContainerGuard<'_>, what: &str) -> anyhow::Result<(bool, String)> {
    let id = guard.inspect(what)?.context("the container is gone")?.id;
    let mut why = String::new();
    for columns in [users::COLUMNS, ""] {
        match guard.top(what, columns) {
            Ok(answer) => match answer.and_then(|top| users::of_top(&top.titles, &top.processes)) {
                Some(processes) => return Ok(users::verdict(&processes)),
                None => why = "its list of processes names no users".into(),
            },
            // Another implementation of `ps` refuses our columns.
            Err(error) => why = format!("{error:#}"),
        }
        interrupt::check()?;
    }
    // A minimal machine has no `ps`; then /proc of this machine is read.
    match processes(&id).as_slice() {
        [] => Ok((false, format!("the engine can't tell which users the processes run as: {why}"))),
        processes => Ok(users::verdict(processes)),
    }
}

/// The processes of a container on this machine, found by their control group.
fn processes(id: &str) -> Vec<users::ProcessUsers> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let is_of_it = |dir: &std::path::Path| {
        id.len() == 64 && std::fs::read_to_string(dir.join("cgroup")).is_ok_and(|groups| groups.contains(id))
    };
    let dirs = entries.flatten().map(|entry| entry.path()).filter(|dir| is_of_it(dir));
    dirs.filter_map(|dir| users::ProcessUsers::of_status(&std::fs::read_to_string(dir.join("status")).ok()?)).collect()
}

/// Sends SIGTERM and measures how long the container takes to end.
pub fn stop(guard: &ContainerGuard<'_>, what: &str) -> anyhow::Result<(bool, String)> {
    let started = Instant::now();
    guard.run(&guard.group.terminate(what))?;
    loop {
        let state = guard.state(what)?.context("the container is gone")?;
        let seconds = started.elapsed().as_secs_f64();
        if !state.running {
            let code = state.exit_code;
            return Ok((code == 0, format!("expected exit code 0 after SIGTERM, got {code} in {seconds:.2} s")));
        }
        if started.elapsed() > STOP_PATIENCE {
            return Ok((false, format!("expected it to end after SIGTERM, but it still runs after {seconds:.0} s")));
        }
        interrupt::check()?;
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_more_than_a_silence_before_or_after_it() {
        let answer = |status| Ok(http::Response { status, body: b" sick\n".to_vec() });
        let late = || Err(io::Error::new(io::ErrorKind::TimedOut, "no answer within 5 s"));
        let refused = || Err(io::Error::new(io::ErrorKind::ConnectionRefused, "refused"));
        let none = "expected an answer on port 80 within 3 s, got none: ";
        let some = "expected 200 from /up within 3 s, got ";
        for (heard, expected) in [
            (vec![], format!("{none}the port was never published")),
            (vec![late(), refused()], format!("{none}refused")),
            (vec![refused(), answer(503), answer(500)], format!("{some}500 sick")),
            (vec![answer(500), late()], format!("{some}500 sick; then no answer: no answer within 5 s")),
            (vec![answer(503), late(), answer(500)], format!("{some}500 sick")),
        ] {
            let mut all = Heard::default();
            heard.into_iter().for_each(|one| all.take(one));
            assert_eq!(all.verdict(80, "/up", 3), expected);
        }
    }
}
