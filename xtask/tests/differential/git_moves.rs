//! What git does to a tree, and the rules by which it looks at one.

use std::fs;

use crate::common::Dice;
use crate::moves::{self, Move};
use crate::world::World;

/// Each by its name.
pub const MOVES: [Move; 38] = [
    ("a commit", |world, _| world.commit()),
    ("all is added", |world, _| _ = world.git(&["add", "--all", ":/"])),
    ("a file is to be added", |world, dice| {
        moves::edit(world, dice);
        world.write("intent", "to add");
        world.git(&["add", "--intent-to-add", "intent"]);
    }),
    ("a file leaves the index", |world, _| _ = world.git(&["rm", "--cached", "--quiet", "a/a1.txt"])),
    ("an edit is stashed", |world, dice| {
        moves::edit(world, dice);
        world.git(&["stash", "--include-untracked"]);
    }),
    ("a stash comes back", |world, _| _ = world.git(&["stash", "pop"])),
    ("a reset", |world, _| _ = world.git(&["reset", "--quiet", "--hard"])),
    ("what is untracked goes", |world, _| _ = world.git(&["clean", "-fdxq", ":/"])),
    ("another branch", |world, dice| {
        world.git(&["checkout", "--quiet", "-b", &format!("b{}", world.round)]);
        moves::edit(world, dice);
        world.commit();
    }),
    ("back to main", |world, _| _ = world.git(&["checkout", "--quiet", "--force", "main"])),
    ("there and back", |world, dice| {
        moves::edit(world, dice);
        world.commit();
        world.git(&["checkout", "--quiet", "HEAD~1"]);
        world.git(&["checkout", "--quiet", "-"]);
    }),
    ("a merge with a conflict", conflict),
    ("a rebase", |world, dice| {
        moves::edit(world, dice);
        world.commit();
        world.git(&["rebase", "--quiet", "--root"]);
    }),
    ("a commit is amended", |world, dice| {
        moves::edit(world, dice);
        world.git(&["commit", "--quiet", "--amend", "--all", "--no-edit"]);
    }),
    ("attributes alone", |world, dice| attributes(world, dice, false)),
    ("attributes, and a new checkout", |world, dice| attributes(world, dice, true)),
    ("attributes of the clone alone", |world, dice| {
        let text = dice.pick(&["*.txt eol=crlf\n", "*.md text\n", "a/* filter=upper\n"]);
        let _ = fs::create_dir_all(world.top.join(".git/info"));
        let _ = fs::write(world.top.join(".git/info/attributes"), text);
        again(world);
    }),
    ("line ends by configuration, and a new checkout", |world, _| {
        world.git(&["config", "core.autocrlf", "true"]);
        again(world);
    }),
    ("line ends by configuration, checked out before", |world, _| {
        world.git(&["config", "core.autocrlf", "true"]);
        again(world);
        world.git(&["config", "core.autocrlf", "false"]);
    }),
    ("a filter", |world, _| filter(world)),
    ("a filter that went", |world, _| {
        filter(world);
        for key in ["clean", "smudge"] {
            world.git(&["config", "--unset", &format!("filter.upper.{key}")]);
        }
    }),
    ("what is assumed unchanged changes", |world, dice| flagged(world, dice, "--assume-unchanged")),
    ("what is left out of the tree changes", |world, dice| flagged(world, dice, "--skip-worktree")),
    ("modes don't count", |world, dice| {
        world.git(&["config", "core.fileMode", "false"]);
        moves::chmod(world, dice, 0o111);
    }),
    ("few times count", |world, dice| {
        world.git(&["config", "core.checkStat", "minimal"]);
        world.git(&["config", "core.trustctime", "false"]);
        moves::edit_unseen(world, dice);
    }),
    ("a sparse checkout", |world, _| {
        world.git(&["sparse-checkout", "set", "--no-cone", "/*", "!/b/", "!/sub/project/b/"]);
    }),
    ("the sparse checkout is whole again", |world, _| _ = world.git(&["sparse-checkout", "disable"])),
    ("a submodule", submodule),
    ("a submodule is edited", |world, _| {
        submodule_file(world, "m1.txt");
    }),
    ("a submodule's ignored file", |world, _| submodule_file(world, "x.log")),
    ("a submodule's commit moves", |world, _| {
        submodule_file(world, "m1.txt");
        world.git_at(&world.root.join("module"), &["commit", "--quiet", "--all", "--message", "m"]);
    }),
    ("a repository within", |world, _| {
        let dir = world.root.join("a/within");
        let _ = fs::create_dir_all(&dir);
        world.git_at(&dir, &["init", "--quiet"]);
        let _ = fs::write(dir.join("f.txt"), format!("{}", world.round));
    }),
    ("a file within it is committed", |world, _| {
        let dir = world.root.join("a/within");
        world.git_at(&dir, &["add", "--all"]);
        world.git_at(&dir, &["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "m"]);
    }),
    ("a linked worktree", worktree),
    ("what the clone alone ignores", |world, dice| {
        let _ = fs::create_dir_all(world.top.join(".git/info"));
        let _ = fs::write(world.top.join(".git/info/exclude"), dice.pick(&["*.txt\n", "new*\n", "a\n"]));
    }),
    ("git's index is locked", |world, _| {
        let _ = fs::write(world.top.join(".git/index.lock"), "");
    }),
    ("names by their case alone", |world, _| _ = world.git(&["config", "core.ignoreCase", "true"])),
    ("an untracked cache and a split index", |world, _| {
        world.git(&["config", "core.untrackedCache", "true"]);
        world.git(&["update-index", "--split-index", "--untracked-cache"]);
    }),
];

/// Checks all files out anew, by the rules that hold now.
fn again(world: &mut World) {
    world.git(&["rm", "--cached", "-r", "--quiet", ":/"]);
    world.git(&["reset", "--quiet", "--hard"]);
}

fn attributes(world: &mut World, dice: &mut Dice, check_out: bool) {
    let text = dice.pick(&["*.txt text eol=crlf\n", "*.md text eol=lf\n", "* -text\n", "a/* ident\n", "*.txt text\n"]);
    world.write(".gitattributes", text);
    if check_out {
        world.commit();
        again(world);
    }
}

fn filter(world: &mut World) {
    world.git(&["config", "filter.upper.clean", "tr A-Z a-z"]);
    world.git(&["config", "filter.upper.smudge", "tr a-z A-Z"]);
    world.write(".gitattributes", "*.txt filter=upper\n");
    world.commit();
    again(world);
}

fn flagged(world: &mut World, dice: &mut Dice, flag: &str) {
    if let Some(path) = world.some_file(dice) {
        world.git(&["update-index", flag, path.to_str().unwrap()]);
        let _ = fs::write(path, format!("{}", world.round));
    }
}

fn conflict(world: &mut World, _: &mut Dice) {
    let round = world.round;
    world.commit();
    world.git(&["checkout", "--quiet", "-b", &format!("one{round}")]);
    world.write("a/a1.txt", &format!("one {round}"));
    world.commit();
    world.git(&["checkout", "--quiet", "-b", &format!("two{round}"), "HEAD~1"]);
    world.write("a/a1.txt", &format!("two {round}"));
    world.commit();
    world.git(&["merge", "--quiet", &format!("one{round}")]);
}

fn submodule(world: &mut World, _: &mut Dice) {
    let other = world.beside("module");
    if !other.exists() {
        fs::create_dir_all(&other).unwrap();
        world.git_at(&other, &["init", "--quiet"]);
        fs::write(other.join("m1.txt"), "m1").unwrap();
        fs::write(other.join(".gitignore"), "*.log\n").unwrap();
        world.git_at(&other, &["add", "--all"]);
        world.git_at(&other, &["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "m"]);
    }
    let allow = ["-c", "protocol.file.allow=always"];
    let module = world.root.join("module");
    world.git(&[&allow[..], &["submodule", "--quiet", "add", other.to_str().unwrap(), "module"]].concat());
    for (key, value) in [("user.name", "a"), ("user.email", "a@b")] {
        world.git_at(&module, &["config", key, value]);
    }
    world.write("Dockerfile", "FROM scratch\nCOPY . /\n");
}

fn submodule_file(world: &mut World, name: &str) {
    if world.root.join("module/.git").exists() {
        let text = format!("{}", world.round);
        world.write(&format!("module/{name}"), &text);
    }
}

fn worktree(world: &mut World, _: &mut Dice) {
    let place = world.beside(&format!("tree{}", world.round));
    world.git(&["worktree", "add", "--quiet", "--detach", place.to_str().unwrap()]);
    if let Ok(rest) = world.root.strip_prefix(&world.top).map(|rest| place.join(rest))
        && rest.join("services.toml").exists()
    {
        (world.root, world.top) = (rest, place);
    }
}
