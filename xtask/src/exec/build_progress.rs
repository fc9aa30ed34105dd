//! The progress of several builds. On a terminal each build has one line that is
//! redrawn; elsewhere lines are printed with the build's name in front.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::ctx::{Ctx, draw};
use crate::model::text;

/// The progress of several builds.
pub struct BuildProgress {
    terminal: bool,
    width: usize,
    started: Instant,
    rows: Mutex<Vec<Row>>,
}

struct Row {
    name: String,
    text: String,
    done: bool,
}

impl BuildProgress {
    /// Starts with one row per name.
    pub fn new(ctx: &Ctx, names: &[&str]) -> Self {
        let rows = names.iter().map(|name| Row { name: (*name).into(), text: String::new(), done: false }).collect();
        let progress = Self {
            terminal: ctx.terminal && !ctx.verbose,
            width: names.iter().map(|name| name.len()).max().unwrap_or(0),
            started: Instant::now(),
            rows: Mutex::new(rows),
        };
        if progress.terminal {
            draw(&"\n".repeat(names.len()));
        }
        progress
    }

    /// Shows an output line of a build.
    pub fn line(&self, name: &str, line: &str) {
        self.show(name, line, false);
    }

    /// Shows the result of a build.
    pub fn done(&self, name: &str, line: String) {
        self.show(name, &line, true);
    }

    fn show(&self, name: &str, line: &str, done: bool) {
        let mut rows = self.rows();
        if !self.terminal {
            draw(&format!("{name:width$} │ {}\n", text::line(line, false), width = self.width));
            return;
        }
        let Some(row) = rows.iter_mut().find(|row| row.name == name) else { return };
        if line.trim().is_empty() {
            return;
        }
        row.text = line.trim().to_owned();
        row.done = done;
        self.draw(&rows);
    }

    fn draw(&self, rows: &[Row]) {
        // Moves up to the first row and overwrites all rows. Nearly every
        // terminal has 100 columns; a wrapped row would break the display.
        let mut out = format!("\x1b[{}A", rows.len());
        for row in rows {
            let mark = if row.done { '■' } else { '▸' };
            let seconds = self.started.elapsed().as_secs();
            let text: String = text::line(&row.text, false).chars().take(78 - self.width.min(40)).collect();
            out.push_str(&format!("\r\x1b[2K{mark} {:width$} {seconds:>4} s  {text}\n", row.name, width = self.width));
        }
        draw(&out);
    }

    fn rows(&self) -> MutexGuard<'_, Vec<Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
