//! What happens to a tree: edits, files that are not what they were, other
//! rules, another environment. What git does is in `git_moves`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use crate::common::Dice;
use crate::world::World;
use crate::{dockerfile, git_moves};

/// A change by its name.
pub type Move = (&'static str, fn(&mut World, &mut Dice));

const MOVES: [Move; 44] = [
    ("a file is edited", edit),
    ("a file is edited", edit),
    ("an edit of the same size", edit_same_size),
    ("an edit of the same size with the old times", edit_unseen),
    ("a file is replaced by one of the same size and times", replace_unseen),
    ("a touch", |world, dice| rewrite(world, dice, |text| text)),
    ("line ends become those of Windows", |world, dice| rewrite(world, dice, |text| text.replace('\n', "\r\n"))),
    ("a file becomes executable, or ceases to be", |world, dice| chmod(world, dice, 0o111)),
    ("a file becomes private, or ceases to be", |world, dice| chmod(world, dice, 0o044)),
    ("a folder becomes private, or ceases to be", chmod_folder),
    ("a file goes", |world, dice| each_file(world, dice, |path| fs::remove_file(path))),
    ("a folder goes", remove_folder),
    ("a file is renamed", rename),
    ("a name changes its case", change_case),
    ("a new file", |world, dice| add(world, dice, "new.txt")),
    ("a new file with an odd name", |world, dice| add(world, dice, "né w\n\"1\".txt")),
    ("a new file that git ignores", |world, dice| add(world, dice, "new.log")),
    ("a file that git ignores is written", |world, _| {
        let text = format!("{}", world.round);
        world.write("a/x.log", &text);
    }),
    ("an empty folder", empty_folder),
    ("a file becomes a folder", file_to_folder),
    ("a file becomes a link to its like", file_to_link),
    ("a link leads elsewhere", relink),
    ("a link to a folder", |world, dice| link_to(world, dice, "../b")),
    ("a link to nowhere", |world, dice| link_to(world, dice, "nothing")),
    ("a link out of the repository", |world, dice| link_to(world, dice, "/etc/hostname")),
    ("a hard link is edited", hard_link),
    ("a comment in the Dockerfile", |world, _| append(world, "Dockerfile", "# {}\n")),
    ("an instruction more", |world, _| append(world, "Dockerfile", "ENV R{}=1\n")),
    ("a copy more", |world, _| append(world, "Dockerfile", "COPY a /more{}\n")),
    ("a line of the Dockerfile is another", |world, dice| each_line(world, "Dockerfile", dice, another_line)),
    ("comments and blanks in the Dockerfile", |world, dice| each_line(world, "Dockerfile", dice, respelled)),
    ("a stage more", |world, dice| each_line(world, "Dockerfile", dice, stage_more)),
    ("a line of .dockerignore goes", |world, dice| each_line(world, ".dockerignore", dice, |_, _, _| String::new())),
    ("a line of .dockerignore more", |world, dice| {
        let line = dockerfile::ignore_line(dice);
        each_line(world, ".dockerignore", dice, |text, _, _| format!("{text}{line}\n"));
    }),
    ("another Dockerfile", |world, dice| world.write("Dockerfile", &dockerfile::dockerfile(dice))),
    ("another .dockerignore", |world, dice| world.write(".dockerignore", &dockerfile::ignore_file(dice))),
    ("an ignore file of the Dockerfile's own", |world, dice| {
        world.write("Dockerfile.dockerignore", &dockerfile::ignore_file(dice));
    }),
    ("another .gitignore", |world, dice| {
        let text = dice.pick(&["", "*.txt\n", "a\n", "*\n", "/b/a\n!f1.md\n"]);
        world.write(".gitignore", text);
    }),
    ("a build argument", build_argument),
    ("another environment", environment),
    ("no image is there any more", |world, _| {
        let image = format!("{}:local", world.name);
        world.docker(&["image", "rm", "--force", &image]);
    }),
    ("somebody else's image has our labels", pose),
    ("another checkout of the same name is built", |world, _| another_checkout(world)),
    ("another checkout of the same name is built, and an edit with the old times", |world, dice| {
        another_checkout(world);
        edit_unseen(world, dice);
    }),
];

/// Does something; what.
pub fn change(world: &mut World, dice: &mut Dice) -> &'static str {
    world.round += 1;
    let at = dice.below(MOVES.len() + git_moves::MOVES.len());
    let (name, act) = MOVES.get(at).unwrap_or_else(|| &git_moves::MOVES[at - MOVES.len()]);
    act(world, dice);
    if dice.once_in(4) {
        world.git(&["add", "--all", ":/"]);
    }
    name
}

fn each_file<T>(world: &World, dice: &mut Dice, act: impl Fn(&Path) -> std::io::Result<T>) {
    if let Some(path) = world.some_file(dice) {
        let _ = act(&path);
    }
}

fn rewrite(world: &World, dice: &mut Dice, change: impl Fn(String) -> String) {
    each_file(world, dice, |path| fs::write(path, change(fs::read_to_string(path)?)));
}

pub fn edit(world: &mut World, dice: &mut Dice) {
    let round = world.round;
    rewrite(world, dice, |text| format!("{text}{round}\n"));
}

fn edit_same_size(world: &mut World, dice: &mut Dice) {
    rewrite(world, dice, turned);
}

/// As long as it was, and otherwise.
fn turned(text: String) -> String {
    let turn = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    text.chars().map(turn).collect()
}

pub fn edit_unseen(world: &mut World, dice: &mut Dice) {
    each_file(world, dice, |path| {
        let time = path.metadata()?.modified()?;
        fs::write(path, turned(fs::read_to_string(path)?))?;
        fs::File::options().write(true).open(path)?.set_modified(time)
    });
}

fn replace_unseen(world: &mut World, dice: &mut Dice) {
    each_file(world, dice, |path| {
        let (time, other) = (path.metadata()?.modified()?, path.with_extension("other"));
        fs::write(&other, turned(fs::read_to_string(path)?))?;
        fs::set_permissions(&other, path.metadata()?.permissions())?;
        fs::File::options().write(true).open(&other)?.set_modified(time)?;
        fs::rename(other, path)
    });
}

pub fn chmod(world: &mut World, dice: &mut Dice, bits: u32) {
    each_file(world, dice, |path| flip(path, bits));
}

fn flip(path: &Path, bits: u32) -> std::io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(path.metadata()?.permissions().mode() ^ bits))
}

fn some_folder(world: &World, dice: &mut Dice) -> std::path::PathBuf {
    world.root.join(dice.pick(&["a", "a/b", "b", "b/a", "c", ".hid", "é", "docs", "new", "new/er"]))
}

fn chmod_folder(world: &mut World, dice: &mut Dice) {
    let _ = flip(&some_folder(world, dice), 0o055);
}

fn remove_folder(world: &mut World, dice: &mut Dice) {
    let _ = fs::remove_dir_all(some_folder(world, dice));
}

fn empty_folder(world: &mut World, dice: &mut Dice) {
    let _ = fs::create_dir_all(some_folder(world, dice).join(format!("empty{}", world.round)));
}

fn rename(world: &mut World, dice: &mut Dice) {
    let (folder, round) = (some_folder(world, dice), world.round);
    let _ = fs::create_dir_all(&folder);
    each_file(world, dice, |path| fs::rename(path, folder.join(format!("renamed{round}.txt"))));
}

fn change_case(world: &mut World, dice: &mut Dice) {
    each_file(world, dice, |path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        fs::rename(path, path.with_file_name(name))
    });
}

fn add(world: &mut World, dice: &mut Dice, name: &str) {
    let folder = some_folder(world, dice);
    let _ = fs::create_dir_all(&folder);
    let _ = fs::write(folder.join(name), format!("{}", world.round));
}

fn file_to_folder(world: &mut World, dice: &mut Dice) {
    each_file(world, dice, |path| {
        fs::remove_file(path)?;
        fs::create_dir(path)?;
        fs::write(path.join("in"), "in")
    });
}

fn file_to_link(world: &mut World, dice: &mut Dice) {
    each_file(world, dice, |path| {
        let like = path.with_extension("like");
        fs::rename(path, &like)?;
        symlink(like.file_name().unwrap_or_default(), path)
    });
}

fn relink(world: &mut World, dice: &mut Dice) {
    let link = world.root.join("a/link");
    let _ = fs::remove_file(&link);
    let _ = symlink(dice.pick(&["a1.txt", "a2.md", "b", "../r1.txt"]), link);
}

fn link_to(world: &mut World, dice: &mut Dice, target: &str) {
    let folder = some_folder(world, dice);
    let _ = fs::create_dir_all(&folder);
    let _ = symlink(target, folder.join(format!("link{}", world.round)));
}

fn hard_link(world: &mut World, dice: &mut Dice) {
    let (twin, round) = (world.root.join(format!("twin{}", world.round)), world.round);
    each_file(world, dice, |path| {
        fs::hard_link(path, &twin)?;
        fs::write(&twin, format!("{round}"))
    });
}

/// `{}` is the round's number.
fn append(world: &mut World, file: &str, line: &str) {
    let text = fs::read_to_string(world.root.join(file)).unwrap_or_default();
    world.write(file, &format!("{text}{}", line.replace("{}", &world.round.to_string())));
}

/// Does something to one line of a file.
fn each_line(world: &World, file: &str, dice: &mut Dice, change: impl Fn(&str, usize, &mut Dice) -> String) {
    let text = fs::read_to_string(world.root.join(file)).unwrap_or_default();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    if lines.is_empty() {
        return;
    }
    let at = dice.below(lines.len());
    let changed: Vec<String> = (0..lines.len())
        .map(|number| if number == at { change(lines[number], world.round, dice) } else { lines[number].to_owned() })
        .collect();
    world.write(file, &changed.concat());
}

/// Of a stage's last line depends whether it has a file.
fn another_line(line: &str, round: usize, dice: &mut Dice) -> String {
    match line.split(' ').next().unwrap_or_default() {
        word if word.eq_ignore_ascii_case("from") || line.contains("always") => line.to_owned(),
        _ => dockerfile::instruction(dice, 0, 10 + round),
    }
}

fn respelled(line: &str, round: usize, dice: &mut Dice) -> String {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match dice.below(5) {
        0 => format!("# comment {round}\n{line}"),
        1 => format!("\n\n{line}"),
        2 => format!(" \t{line}"),
        3 if !rest.is_empty() => format!("{}   {rest}", word.to_lowercase()),
        _ if !rest.is_empty() => format!("{word} \\\n  # comment {round}\n {rest}"),
        _ => format!("{line}# comment {round}\n"),
    }
}

/// One that nobody names, above a line that begins another or in the middle of it.
fn stage_more(line: &str, round: usize, dice: &mut Dice) -> String {
    let is_from = line.split(' ').next().is_some_and(|word| word.eq_ignore_ascii_case("from"));
    if !is_from && !dice.once_in(4) {
        return line.to_owned();
    }
    format!("FROM scratch AS more{round}\nCOPY r1.txt /more{round}\n{line}")
}

fn build_argument(world: &mut World, dice: &mut Dice) {
    let value = dice.pick(&["A=b", "G=c", "A", "G", "NO=a"]);
    world.args = vec!["--build-arg".into(), value.into()];
    world.env = vec![("A".into(), dice.pick(&["c", "a/b"]).into())];
}

fn environment(world: &mut World, dice: &mut Dice) {
    let (key, value) = match dice.below(10) {
        0 => ("DOCKER_DEFAULT_PLATFORM", "linux/amd64/v2"),
        1 => ("BUILDX_GIT_LABELS", "full"),
        2 => ("BUILDX_GIT_INFO", "true"),
        3 => ("SOURCE_DATE_EPOCH", "1"),
        4 => ("GIT_DIR", "/nowhere"),
        5 => ("GIT_WORK_TREE", "/"),
        6 => ("GIT_INDEX_FILE", "/nowhere"),
        7 => ("GIT_CONFIG_PARAMETERS", "'core.filemode'='false'"),
        8 => ("BUILDX_NO_DEFAULT_ATTESTATIONS", "0"),
        _ => ("GIT_LITERAL_PATHSPECS", "1"),
    };
    world.env = vec![(key.into(), value.into())];
}

/// An image of another content with all labels of ours, under a name beside ours.
fn pose(world: &mut World, _: &mut Dice) {
    let (ours, theirs) = (format!("{}:local", world.name), format!("{}-theirs:1", world.name));
    let dir = world.beside("theirs");
    let _ = fs::create_dir_all(&dir);
    let _ = fs::write(dir.join("Dockerfile"), format!("FROM {ours}\nCOPY x /x{}\n", world.round));
    let _ = fs::write(dir.join("x"), "x");
    world.docker(&["buildx", "build", "--quiet", "--load", "--tag", &theirs, dir.to_str().unwrap()]);
    world.docker(&["tag", &theirs, &ours]);
    world.docker(&["image", "rm", &theirs]);
}

/// A copy of the tree in a folder of the same name, its files of the same sizes
/// and times, of other contents. It is built by hand and by us.
fn another_checkout(world: &mut World) {
    let place = world.beside(&format!("other{}", world.round));
    let other = place.join(world.root.file_name().unwrap_or_default());
    let _ = fs::create_dir_all(&place);
    let _ = Command::new("cp").arg("-a").args([&world.root, &other]).status();
    for file in world.files().iter().map(|file| other.join(file)) {
        let (Ok(found), Ok(text)) = (file.metadata(), fs::read_to_string(&file)) else { continue };
        let text: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { 'x' } else { c }).collect();
        let _ = fs::write(&file, text);
        let opened = fs::File::options().write(true).open(&file);
        let _ = opened.and_then(|file| file.set_modified(found.modified()?));
    }
    world.build_at(&other);
    let _ = fs::remove_dir_all(&place);
}
