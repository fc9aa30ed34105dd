//! What files held when they were last read: a record that saves reading them
//! again while nothing about them has changed.
//!
//! A file whose time of change is recent when it is looked at may change once
//! more within the same tick of the clock, and nothing would tell. What it held
//! is written down, and not believed.
//!
//! BuildKit keeps a copy of each build context, and takes a file of the same
//! size and time of modification for the one that it has; and a `chmod` of a
//! folder, which touches no time, it does not see. So the record also has the
//! word of the copy that BuildKit is asked to keep. Where it could be mistaken,
//! the word is another, and BuildKit has nothing by that word.

use std::time::Duration;

/// Changes when a record of before can't be read as one of now.
const MAGIC: &[u8] = b"xtask files 4\n";
/// In front of what a file held: it may hold something else by now.
const HASTY: char = '?';
/// How long ago a file must have changed to be remembered.
const SETTLED: Duration = Duration::from_secs(2);
/// The finest tick of a clock that file systems keep, with room.
const TICK: Duration = Duration::from_millis(20);
/// That of file systems that keep whole seconds, or every second one.
const COARSE: Duration = Duration::from_secs(2);
/// More seconds than anybody has to wait.
const LONG_AGO: i64 = 4;

/// What the file system says of a file without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStat {
    /// Kind and permissions.
    pub mode: u32,
    /// How many names it has.
    pub names: u64,
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
    /// The length.
    pub size: u64,
    /// When its contents changed, as it says itself: seconds and nanoseconds.
    pub modified: (i64, i64),
    /// When anything about it changed, as the kernel says.
    pub changed: (i64, i64),
}

impl FileStat {
    const BYTES: usize = 64;

    fn bytes(&self) -> [[u8; 8]; Self::BYTES / 8] {
        let Self { mode, names: _, dev, ino, size, modified, changed } = *self;
        [
            u64::from(mode).to_le_bytes(),
            dev.to_le_bytes(),
            ino.to_le_bytes(),
            size.to_le_bytes(),
            modified.0.to_le_bytes(),
            modified.1.to_le_bytes(),
            changed.0.to_le_bytes(),
            changed.1.to_le_bytes(),
        ]
    }

    /// How long before `now` (since 1970) its last change was; none: it is to come.
    fn age(&self, now: Duration) -> Option<Duration> {
        let seconds = u64::try_from(self.changed.0).unwrap_or(0);
        let nanos = u32::try_from(self.changed.1).unwrap_or(0);
        now.checked_sub(Duration::new(seconds, nanos))
    }

    /// How long to wait until no other change can have the time of the last one.
    /// None: that time is still to come, and nobody can wait for it.
    pub fn settles_in(&self, now: Duration) -> Option<Duration> {
        // Nearly every file, and without arithmetic.
        if self.changed.0.saturating_add(LONG_AGO) < now.as_secs().cast_signed() {
            return Some(Duration::ZERO);
        }
        let tick = if self.changed.1 == 0 { COARSE } else { TICK };
        match self.age(now) {
            Some(age) => Some(tick.saturating_sub(age)),
            // The clock of the files may be a little ahead of ours.
            None => self.age(now + COARSE).map(|age| COARSE.saturating_sub(age) + tick),
        }
    }

    fn is_settled(&self, now: Duration) -> bool {
        self.age(now).is_some_and(|age| age > SETTLED)
    }
}

/// The copies that BuildKit has of what the record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// Their word: no others have it.
    pub word: u64,
    /// The latest time of modification of all files that may be in one of them.
    pub newest: (i64, i64),
}

impl Copies {
    const BYTES: usize = 24;

    /// None that there are: by a new word.
    pub fn none(word: u64) -> Self {
        Self { word, newest: (i64::MIN, 0) }
    }

    /// With a file in them.
    #[must_use]
    pub fn with(self, stat: &FileStat) -> Self {
        Self { newest: self.newest.max(stat.modified), ..self }
    }

    fn bytes(self) -> [[u8; 8]; Self::BYTES / 8] {
        [self.word.to_le_bytes(), self.newest.0.to_le_bytes(), self.newest.1.to_le_bytes()]
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        let [word, seconds, nanos] = *bytes.as_chunks::<8>().0 else { return None };
        Some(Self { word: u64::from_le_bytes(word), newest: (i64::from_le_bytes(seconds), i64::from_le_bytes(nanos)) })
    }
}

/// A record that is read in the order of its paths.
#[derive(Debug, Default)]
pub struct ContentCache<'a> {
    /// What BuildKit has; none: there is no record.
    pub copies: Option<Copies>,
    rest: &'a [u8],
    next: Option<CacheLine<'a>>,
    found: Option<CacheLine<'a>>,
}

#[derive(Clone, Copy, Debug)]
struct CacheLine<'a> {
    path: &'a [u8],
    stat: &'a [u8],
    id: &'a str,
    whole: &'a [u8],
}

impl<'a> ContentCache<'a> {
    /// Begins to read. What is no record of ours remembers nothing.
    pub fn of(bytes: &'a [u8]) -> Self {
        let parts = bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_at_checked(Copies::BYTES));
        let (copies, rest) = parts.unwrap_or_default();
        let mut record = Self { copies: Copies::of(copies), rest, next: None, found: None };
        record.step();
        record
    }

    fn step(&mut self) {
        self.next = line(self.rest);
        // What can't be read ends the record.
        self.rest = self.next.map_or(&[], |line| &self.rest[line.whole.len()..]);
    }

    /// What the file at `path` held, if it is as it was. Paths come in order.
    /// What was passed over goes to `kept`, as it is.
    pub fn id(&mut self, path: &str, stat: &FileStat, kept: &mut Vec<u8>) -> Option<&'a str> {
        while let Some(line) = self.next.filter(|line| line.path < path.as_bytes()) {
            kept.extend_from_slice(line.whole);
            self.step();
        }
        self.found = self.next.filter(|line| line.path == path.as_bytes());
        let line = self.found?;
        self.step();
        (line.stat == stat.bytes().as_flattened() && !line.id.starts_with(HASTY)).then_some(line.id)
    }

    /// What was known of the path that was asked for last.
    pub fn before(&self) -> Before<'a> {
        Before(self.found)
    }

    /// The rest, as it is.
    pub fn end(mut self, kept: &mut Vec<u8>) {
        while let Some(line) = self.next {
            kept.extend_from_slice(line.whole);
            self.step();
        }
    }
}

/// What was known of a path.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a>(Option<CacheLine<'a>>);

/// Where size and time of modification stand in a [`FileStat`].
const SEEN: std::ops::Range<usize> = 24..48;

impl Before<'_> {
    /// Whether BuildKit could take what is at the path now for what it has in
    /// one of its copies, which is something else. What a path held by each size
    /// and time is known of the last one only: one that is not newer than all
    /// that there was may have been there before.
    pub fn is_taken_for(&self, copies: &Copies, stat: &FileStat, id: &str) -> bool {
        let Some(line) = self.0 else { return false };
        let is_folder = line.path.ends_with(b"/");
        match is_folder || line.stat[SEEN] == stat.bytes().as_flattened()[SEEN] {
            true => line.id.trim_start_matches(HASTY) != id,
            false => stat.modified <= copies.newest,
        }
    }
}

/// `STAT LENGTH LENGTH PATH ID`, each length two bytes.
fn line(bytes: &[u8]) -> Option<CacheLine<'_>> {
    let (stat, rest) = bytes.split_at_checked(FileStat::BYTES)?;
    let (lengths, rest) = rest.split_at_checked(4)?;
    let [path, id] = [[lengths[0], lengths[1]], [lengths[2], lengths[3]]].map(|it| usize::from(u16::from_le_bytes(it)));
    let (path, rest) = rest.split_at_checked(path)?;
    let (id, _) = rest.split_at_checked(id)?;
    let whole = &bytes[..FileStat::BYTES + 4 + path.len() + id.len()];
    let id = if is_id(id) { std::str::from_utf8(id).ok()? } else { return None };
    Some(CacheLine { path, stat, id, whole })
}

/// As git writes ids, after our mark. A loop by hand: of a hundred thousand ids each letter counts.
fn is_id(bytes: &[u8]) -> bool {
    let marks = usize::from(bytes.first() == Some(&(HASTY as u8)));
    let mut at = marks;
    while at < bytes.len() && matches!(bytes[at], b'0'..=b'9' | b'a'..=b'f') {
        at += 1;
    }
    at > marks && at == bytes.len()
}

/// The beginning of a new record.
pub fn begin(copies: Copies) -> Vec<u8> {
    [MAGIC, copies.bytes().as_flattened()].concat()
}

/// A record of the same files, of which BuildKit has nothing by the new word.
/// None where there is no record.
pub fn renewed(record: &[u8], word: u64) -> Option<Vec<u8>> {
    let copies = ContentCache::of(record).copies?;
    let files = &record[MAGIC.len() + Copies::BYTES..];
    Some([&begin(Copies { word, ..copies }), files].concat())
}

/// Adds a file to a record; one that changed shortly before `now` is not to be
/// believed.
pub fn add(record: &mut Vec<u8>, path: &str, stat: &FileStat, id: &str, now: Duration) {
    let hasty = if stat.is_settled(now) { "" } else { "?" };
    let lengths = (u16::try_from(path.len()), u16::try_from(hasty.len() + id.len()));
    if let (Ok(path_length), Ok(id_length)) = lengths {
        record.extend_from_slice(stat.bytes().as_flattened());
        record.extend_from_slice(&path_length.to_le_bytes());
        record.extend_from_slice(&id_length.to_le_bytes());
        record.extend_from_slice(path.as_bytes());
        record.extend_from_slice(hasty.as_bytes());
        record.extend_from_slice(id.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn stat() -> FileStat {
        FileStat { mode: 0o100644, names: 1, dev: 7, ino: 8, size: 9, modified: (5, 6), changed: (900, 1) }
    }

    fn record(paths: &[&str]) -> Vec<u8> {
        let mut record = begin(Copies::none(0));
        paths.iter().for_each(|path| add(&mut record, path, &stat(), "ab", NOW));
        record
    }

    fn found(record: &[u8], path: &str, stat: &FileStat) -> Option<String> {
        ContentCache::of(record).id(path, stat, &mut Vec::new()).map(str::to_owned)
    }

    #[test]
    fn buildkit_takes_for_what_it_has_what_has_the_same_size_and_time_or_may_have_had() {
        let copies = Copies { word: 1, newest: (7, 5) };
        let taken = |record: &[u8], path: &str, stat: &FileStat, id: &str| {
            let mut known = ContentCache::of(record);
            known.id(path, stat, &mut Vec::new());
            known.before().is_taken_for(&copies, stat, id)
        };
        let (was, same) = (stat(), FileStat { changed: (950, 2), ino: 99, mode: 0o100600, ..stat() });
        let mut hasty = begin(copies);
        add(&mut hasty, "a", &was, "ab", Duration::from_secs(901));
        for record in [record(&["a"]), hasty] {
            assert!(taken(&record, "a", &same, "cd"));
            assert!(!taken(&record, "a", &same, "ab"), "it has the same");
            assert!(!taken(&record, "b", &same, "cd"), "nothing was there");
            // Of another size or time than the last one: it may be one before that.
            for (other, expected) in [
                (FileStat { size: 10, ..same }, true),
                (FileStat { modified: (5, 7), ..same }, true),
                (FileStat { modified: (7, 5), ..same }, true),
                (FileStat { modified: (7, 6), ..same }, false),
                (FileStat { modified: (8, 0), ..same }, false),
            ] {
                for id in ["ab", "cd"] {
                    assert_eq!(taken(&record, "a", &other, id), expected, "{other:?}");
                }
            }
        }
        // Of a folder the mode counts, whatever its time.
        let mut folder = begin(copies);
        add(&mut folder, "a/", &was, "40755", NOW);
        for (modified, id, expected) in [((5, 6), "40755", false), ((5, 6), "40700", true), ((9, 0), "40700", true)] {
            assert_eq!(taken(&folder, "a/", &FileStat { modified, ..was }, id), expected, "{id}");
        }
    }

    #[test]
    fn a_record_says_what_buildkit_has_until_it_is_renewed() {
        let copies = Copies::none(3).with(&FileStat { modified: (-1, 0), ..stat() }).with(&stat());
        assert_eq!(copies, Copies { word: 3, newest: (5, 6) });
        assert_eq!(copies.with(&FileStat { modified: (5, 5), ..stat() }), copies);
        let mut record = begin(copies);
        add(&mut record, "a", &stat(), "ab", NOW);
        assert_eq!(ContentCache::of(&record).copies, Some(copies));
        let renewed = renewed(&record, 4).unwrap();
        assert_eq!(ContentCache::of(&renewed).copies, Some(Copies { word: 4, ..copies }));
        assert_eq!(found(&renewed, "a", &stat()).as_deref(), Some("ab"));
        for none in [&b""[..], b"xtask files 3\n", &record[..MAGIC.len() + Copies::BYTES - 1]] {
            assert_eq!(ContentCache::of(none).copies, None);
            assert_eq!(super::renewed(none, 4), None);
        }
    }

    #[test]
    fn a_file_is_known_while_nothing_about_it_changed() {
        let record = record(&["a", "a/b", "é"]);
        for path in ["a", "a/b", "é"] {
            assert_eq!(found(&record, path, &stat()).as_deref(), Some("ab"));
        }
        assert_eq!(found(&record, "a/", &stat()), None);
        let it = stat();
        for other in [
            FileStat { mode: 0o100755, ..it },
            FileStat { dev: 0, ..it },
            FileStat { ino: 0, ..it },
            FileStat { size: 0, ..it },
            FileStat { modified: (5, 7), ..it },
            FileStat { modified: (6, 6), ..it },
            FileStat { changed: (900, 2), ..it },
            FileStat { changed: (901, 1), ..it },
        ] {
            assert_eq!(found(&record, "a", &other), None, "{other:?}");
        }
    }

    #[test]
    fn what_changed_a_moment_ago_or_is_to_come_is_not_remembered() {
        for (changed, known) in [
            ((900, 0), true),
            ((997, 999), true),
            ((998, 0), false),
            ((998, 1), false),
            ((1000, 0), false),
            ((1001, 0), false),
        ] {
            let mut record = begin(Copies::none(0));
            let stat = FileStat { changed, ..stat() };
            add(&mut record, "a", &stat, "ab", NOW);
            assert_eq!(found(&record, "a", &stat).is_some(), known, "{changed:?}");
        }
    }

    #[test]
    fn waiting_ends_when_another_change_has_another_time() {
        let wait = |changed| FileStat { changed, ..stat() }.settles_in(NOW).map(|time| time.as_millis());
        assert_eq!(wait((999, 999_000_000)), Some(19));
        assert_eq!(wait((999, 900_000_000)), Some(0));
        // Whole seconds: the file system may know no others.
        assert_eq!(wait((999, 0)), Some(1000));
        for long_ago in [(997, 0), (996, 0), (995, 999_999_999), (0, 0), (-5, 3)] {
            assert_eq!(wait(long_ago), Some(0));
        }
        assert_eq!(wait((1001, 1)), Some(1020));
        assert_eq!(wait((1003, 1)), None);
    }

    #[test]
    fn what_git_never_writes_is_no_id() {
        for (id, is) in [("0", true), ("09af", true), ("", false), ("0g", false), ("0A", false), ("é", false)] {
            assert_eq!(is_id(id.as_bytes()), is, "{id}");
        }
    }

    #[test]
    fn a_record_that_is_broken_remembers_nothing_behind_the_break() {
        let whole = record(&["a", "b"]);
        for end in 0..whole.len() {
            let cut = &whole[..end];
            assert_eq!(found(cut, "b", &stat()), None, "{end}");
        }
        assert_eq!(found(&whole, "b", &stat()).as_deref(), Some("ab"));
        assert_eq!(found(b"xtask files 0\n", "a", &stat()), None);
        crate::model::cases::cases(2000, |u| {
            let mut bytes = begin(Copies::none(0));
            bytes.extend(u.arbitrary::<Vec<u8>>()?);
            let _ = found(&bytes, "a", &stat());
            Ok(())
        });
    }

    /// Another service's files are not forgotten when one is looked at.
    #[test]
    fn what_is_passed_over_is_kept() {
        let old = record(&["a", "b", "c", "d"]);
        let (mut kept, mut reader) = (begin(Copies::none(0)), ContentCache::of(&old));
        assert_eq!(reader.id("b", &stat(), &mut kept), Some("ab"));
        add(&mut kept, "b", &stat(), "cd", NOW);
        reader.end(&mut kept);
        let ids = ["a", "b", "c", "d"].map(|path| found(&kept, path, &stat()).unwrap());
        assert_eq!(ids, ["ab", "cd", "ab", "ab"]);
    }
}
