//! Lets `ci plan` ask how the change of a Dockerfile or an ignore file affects
//! each service. Every text is read once. Every answer is computed at most twice:
//! for the reason and for `--explain`.

use std::cell::RefCell;
use std::collections::HashMap;

use docker_context::dockerfile::DockerfileCache;

use crate::cmd::ci::indirect_changes::IndirectChanges;
use crate::cmd::definition::BuildSettings;
use crate::model::affected::Redefined;
use crate::model::config::Service;
use crate::model::definition_changes::{Read, Sides};
use crate::model::dockerfile_changes::{Newer, Touch, touch};
use crate::model::doubt::Doubt;
use crate::model::platform::Platform;

type FileText = Result<Option<String>, Doubt>;

/// Asks with both sides of the comparison.
pub fn with<T>(beside: &IndirectChanges<'_, '_>, sides: Sides<'_>, ask: impl FnOnce(Redefined<'_>) -> T) -> T {
    let (olds, news) = (RefCell::default(), RefCell::default());
    let new = |path: &str| once(&news, sides.new, path);
    let old = sides.old.map(|read| move |path: &str| once(&olds, read, path));
    let sides = Sides { old: old.as_ref().map(|old| old as Read<'_>), new: &new };
    let parsed = DockerfileCache::default();
    let answers: RefCell<HashMap<(String, String), Touch>> = RefCell::default();
    ask(&|service: &Service, path: &str| {
        let key = (service.name.clone(), path.to_owned());
        if let Some(known) = answers.borrow().get(&key) {
            return Some(known.clone());
        }
        let setting = BuildSettings::of_service(service);
        let platforms = setting.platforms.iter().map(Platform::as_str).collect();
        let newer = Newer { platforms, links: beside.links(), files: &|| beside.tracked(), parsed: &parsed };
        let answer = touch(service, path, sides, &newer)?;
        answers.borrow_mut().insert(key, answer.clone());
        Some(answer)
    })
}

fn once(known: &RefCell<HashMap<String, FileText>>, read: Read<'_>, path: &str) -> FileText {
    if let Some(text) = known.borrow().get(path) {
        return text.clone();
    }
    let text = read(path);
    known.borrow_mut().insert(path.to_owned(), text.clone());
    text
}
