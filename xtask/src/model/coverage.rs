//! Whether a service's filter says the truth about its Dockerfile: it must
//! include whatever a stage can read, and should include nothing else.

use crate::model::config::Service;
use crate::model::dockerfile::inputs::{Input, Inputs};
use crate::model::dockerignore::{self, Dockerignore};

/// A service's filter beside what its target can read.
#[derive(Debug)]
pub struct Coverage<'a> {
    /// The service.
    pub service: &'a Service,
    /// What its target reads from the context.
    pub inputs: &'a Inputs,
    /// What the context does not hold.
    pub ignore: &'a Dockerignore,
}

/// Why a file matters to a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader<'a> {
    /// It says how to build: the Dockerfile or its ignore file.
    Definition,
    /// An instruction reads it.
    Instruction(&'a Input),
}

impl<'a> Coverage<'a> {
    /// What reads the file at `path`, from the root.
    pub fn reader(&self, path: &str) -> Option<Reader<'a>> {
        let Service { dockerfile, context, .. } = self.service;
        if path == dockerfile || dockerignore::candidates(dockerfile, context).iter().any(|file| path == file) {
            return Some(Reader::Definition);
        }
        let path = in_context(context.as_str(), path)?;
        let input = self.inputs.reads(path)?;
        (!self.ignore.excludes(path)).then_some(Reader::Instruction(input))
    }

    /// The files that are read and that the filter leaves out.
    pub fn missed<'p>(&self, paths: impl IntoIterator<Item = &'p str>) -> Vec<(&'p str, Reader<'a>)> {
        let left_out = paths.into_iter().filter(|path| !self.service.paths.includes(path));
        left_out.filter_map(|path| Some((path, self.reader(path)?))).collect()
    }
}

/// A path of the root as one of the context, if it is below it.
pub fn in_context<'p>(context: &str, path: &'p str) -> Option<&'p str> {
    match context {
        "." | "" => Some(path),
        context => path.strip_prefix(context.trim_end_matches('/'))?.strip_prefix('/'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_root_is_one_of_the_context_only_below_it() {
        assert_eq!(in_context(".", "a/b"), Some("a/b"));
        assert_eq!(in_context("a", "a/b"), Some("b"));
        assert_eq!(in_context("a/", "a/b"), Some("b"));
        assert_eq!(in_context("a", "ab/c"), None);
        assert_eq!(in_context("a", "a"), None);
    }
}
