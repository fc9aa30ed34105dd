//! The rules between tables: which ones must not share a name or a file.

use std::collections::BTreeMap;

use super::check::Checker;
use super::raw::{RawNeed, RawService, Text};

impl Checker<'_> {
    /// Services, roles and needs share one network, where others find each by its
    /// name.
    pub(super) fn names_differ(&self, needs: &BTreeMap<Text, RawNeed>, services: &BTreeMap<Text, RawService>) {
        for need in needs.keys().filter(|need| services.contains_key(*need)) {
            let key = format!("needs.{}", need.get_ref());
            self.refuse(need.span().start, &key, "a service has this name already; they meet on one network");
        }
        let mut whose: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, service) in services {
            let name = name.get_ref().as_str();
            for (at, role) in service.run.iter().flat_map(|run| &run.roles).enumerate() {
                let text = role.get_ref();
                let other = match whose.insert(text, name) {
                    Some(other) if other != name => format!("`{text}` is a role of `{other}` already"),
                    _ if needs.contains_key(role) => format!("`{text}` is the name of a need"),
                    // The first role answers under the name of its service
                    // anyway.
                    _ if services.contains_key(role) && (at > 0 || text != name) => {
                        format!("`{text}` is the name of a service")
                    }
                    _ => continue,
                };
                let why = format!("{other}; they meet on one network");
                self.refuse(role.span().start, &format!("services.{name}.run.roles"), why);
            }
        }
    }

    /// Two images with one name, or two services with one workflow: the later one
    /// would overwrite the earlier one.
    pub(super) fn no_two_share(&self, services: &BTreeMap<Text, RawService>) {
        let mut images: BTreeMap<&str, &str> = BTreeMap::new();
        // On some file systems `A.yml` and `a.yml` are the same file.
        let mut workflows: BTreeMap<String, &str> = BTreeMap::new();
        for (service, raw) in services {
            let name = service.get_ref().as_str();
            let image = raw.image.get_ref();
            if let Some(other) = images.insert(image, name) {
                let why = format!("`{image}` is the image of `{other}` already");
                self.refuse(raw.image.span().start, &format!("services.{name}.image"), why);
            }
            let text = raw.workflow.as_ref();
            let workflow = text.map_or_else(|| format!("{name}-docker-build"), |text| text.get_ref().clone());
            if let Some(other) = workflows.insert(workflow.to_lowercase(), name) {
                let offset = text.map_or(service.span().start, |text| text.span().start);
                let why =
                    format!("`{workflow}` is the workflow of `{other}` already; name another one, without `.yml`");
                self.refuse(offset, &format!("services.{name}.workflow"), why);
            }
        }
    }
}
