//! Runs many patterns over a path at once. Each pattern is compiled into
//! operations. Every set of operations that a path can reach gets a number, and a
//! table remembers where each character leads from a set. So a path costs one
//! table lookup per character, however many patterns there are.
//!
//! The crate path-filter has another automaton: its patterns are few and run one
//! at a time, without alternatives or counts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::regexp::{Class, Regexp};

/// How many operations, over all sets, are remembered before the table is
/// cleared.
const MOST_REMEMBERED: usize = 20_000_000;
/// How many operations all patterns together may have.
const MOST_STEPS: usize = 200_000;
const UNKNOWN: u32 = u32::MAX;

#[derive(Clone, Debug)]
enum Op {
    /// Reads one character.
    Read(Class),
    /// Continues there as well as here.
    Fork(u32),
    /// Continues there.
    Jump(u32),
    Start,
    End,
    /// The pattern has matched.
    Hit(u32),
}

/// Several patterns, by number.
#[derive(Default)]
pub struct PatternSet {
    steps: Arc<[Op]>,
    starts: Arc<[u32]>,
    memo: Mutex<Memo>,
}

/// The numbered sets of operations.
#[derive(Default)]
struct Memo {
    numbers: HashMap<Arc<[u32]>, u32>,
    sets: Vec<Arc<[u32]>>,
    ascii: Vec<[u32; 128]>,
    other: HashMap<(u32, char), u32>,
    hits: Vec<Option<Arc<[u32]>>>,
    size: usize,
}

impl Clone for PatternSet {
    fn clone(&self) -> Self {
        Self { steps: Arc::clone(&self.steps), starts: Arc::clone(&self.starts), memo: Mutex::default() }
    }
}

impl PatternSet {
    /// Compiles patterns. The first one has the number 0.
    pub fn new<'n>(patterns: impl IntoIterator<Item = &'n Regexp>) -> Result<Self, String> {
        let mut steps = Vec::new();
        let mut starts = Vec::new();
        for (number, pattern) in (0..).zip(patterns) {
            starts.push(place(&steps));
            compile(&mut steps, pattern)?;
            steps.push(Op::Hit(number));
        }
        Ok(Self { steps: steps.into(), starts: starts.into(), memo: Mutex::default() })
    }

    /// Runs over a path. For each folder above the path and for the path itself,
    /// from the top, it calls `at_folder` with the length and the patterns that
    /// match. `at_folder` returns whether to continue. It is not called below a
    /// folder where no pattern can match any more.
    pub fn run(&self, path: &str, mut at_folder: impl FnMut(usize, &Arc<[u32]>) -> bool) {
        let mut memo = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = memo.start(self);
        let mut told = |memo: &mut Memo, end: usize, state: u32| at_folder(end, &memo.hits(self, state));
        for (at, c) in path.char_indices() {
            if c == '/' && !told(&mut memo, at, state) {
                return;
            }
            state = memo.next(self, state, c);
            if c == '/' && memo.sets[state as usize].is_empty() {
                return;
            }
        }
        told(&mut memo, path.len(), state);
    }

    /// Whether any pattern can match a path that begins like this.
    pub fn goes_on(&self, path: &str) -> bool {
        let mut memo = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = memo.start(self);
        for c in path.chars() {
            state = memo.next(self, state, c);
        }
        !memo.sets[state as usize].is_empty()
    }

    /// The operations reached from these without reading a character, in order.
    fn close(&self, mut queue: Vec<u32>, start: bool, end: bool) -> Vec<u32> {
        let (mut seen, mut set) = (vec![false; self.steps.len()], Vec::new());
        while let Some(at) = queue.pop() {
            if std::mem::replace(&mut seen[at as usize], true) {
                continue;
            }
            match &self.steps[at as usize] {
                Op::Read(_) | Op::Hit(_) => set.push(at),
                Op::Fork(to) => queue.extend([at + 1, *to]),
                Op::Jump(to) => queue.push(*to),
                Op::Start => queue.extend(start.then_some(at + 1)),
                Op::End => {
                    set.push(at);
                    queue.extend(end.then_some(at + 1));
                }
            }
        }
        set.sort_unstable();
        set
    }
}

impl Memo {
    /// The operations at which each path starts.
    fn start(&mut self, automaton: &PatternSet) -> u32 {
        if self.size > MOST_REMEMBERED {
            *self = Self::default();
        }
        if self.sets.is_empty() {
            let set = automaton.close(automaton.starts.to_vec(), true, false);
            self.number(set);
        }
        0
    }

    fn number(&mut self, set: Vec<u32>) -> u32 {
        if let Some(number) = self.numbers.get(set.as_slice()) {
            return *number;
        }
        let set: Arc<[u32]> = set.into();
        let number = self.sets.len() as u32;
        self.size += set.len() + 128;
        self.sets.push(Arc::clone(&set));
        self.numbers.insert(set, number);
        self.ascii.push([UNKNOWN; 128]);
        self.hits.push(None);
        number
    }

    fn next(&mut self, automaton: &PatternSet, state: u32, c: char) -> u32 {
        let known = match self.ascii[state as usize].get(c as usize) {
            Some(next) => *next,
            None => self.other.get(&(state, c)).copied().unwrap_or(UNKNOWN),
        };
        if known != UNKNOWN {
            return known;
        }
        let reads = |at: &u32| matches!(&automaton.steps[*at as usize], Op::Read(class) if class.has(c));
        let moved: Vec<u32> = self.sets[state as usize].iter().filter(|at| reads(at)).map(|at| at + 1).collect();
        let next = self.number(automaton.close(moved, false, false));
        match self.ascii[state as usize].get_mut(c as usize) {
            Some(known) => *known = next,
            None => _ = self.other.insert((state, c), next),
        }
        self.size += 1;
        next
    }

    /// The patterns that match here.
    fn hits(&mut self, automaton: &PatternSet, state: u32) -> Arc<[u32]> {
        if let Some(hits) = &self.hits[state as usize] {
            return Arc::clone(hits);
        }
        let set = Arc::clone(&self.sets[state as usize]);
        let ends = set.iter().any(|at| matches!(automaton.steps[*at as usize], Op::End));
        let closed = if ends { automaton.close(set.to_vec(), false, true).into() } else { set };
        let number = |at: &u32| if let Op::Hit(number) = automaton.steps[*at as usize] { Some(number) } else { None };
        let mut hits: Vec<u32> = closed.iter().filter_map(number).collect();
        hits.sort_unstable();
        hits.dedup();
        let hits: Arc<[u32]> = hits.into();
        self.hits[state as usize] = Some(Arc::clone(&hits));
        hits
    }
}

fn place(steps: &[Op]) -> u32 {
    steps.len() as u32
}

fn compile(steps: &mut Vec<Op>, node: &Regexp) -> Result<(), String> {
    if steps.len() > MOST_STEPS {
        return Err(format!("the patterns have more than {MOST_STEPS} steps, which is the most that is compared"));
    }
    match node {
        Regexp::Class(class) => steps.push(Op::Read(class.clone())),
        Regexp::Start => steps.push(Op::Start),
        Regexp::End => steps.push(Op::End),
        Regexp::All(nodes) => return nodes.iter().try_for_each(|node| compile(steps, node)),
        Regexp::Any(nodes) => {
            let mut ends = Vec::new();
            for (at, node) in nodes.iter().enumerate() {
                let fork = steps.len();
                if at + 1 < nodes.len() {
                    steps.push(Op::Fork(0));
                }
                compile(steps, node)?;
                if at + 1 < nodes.len() {
                    ends.push(steps.len());
                    steps.push(Op::Jump(0));
                    steps[fork] = Op::Fork(place(steps));
                }
            }
            let end = place(steps);
            ends.into_iter().for_each(|at| steps[at] = Op::Jump(end));
        }
        Regexp::Times(node, least, most) => {
            for _ in 0..*least {
                compile(steps, node)?;
            }
            let Some(most) = most else {
                let fork = steps.len();
                steps.push(Op::Fork(0));
                compile(steps, node)?;
                steps.push(Op::Jump(fork as u32));
                steps[fork] = Op::Fork(place(steps));
                return Ok(());
            };
            let mut forks = Vec::new();
            for _ in *least..*most {
                forks.push(steps.len());
                steps.push(Op::Fork(0));
                compile(steps, node)?;
            }
            let end = place(steps);
            forks.into_iter().for_each(|at| steps[at] = Op::Fork(end));
        }
    }
    Ok(())
}
