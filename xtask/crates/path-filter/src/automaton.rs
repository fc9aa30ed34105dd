//! A pattern that is compiled once and run over many paths. Its literal ends are
//! compared as text, which decides most paths. The middle runs as a
//! nondeterministic automaton whose set of states is a machine word (shift-and):
//! state N means that N tokens are read, and a character moves all states at
//! once.

use crate::syntax::{Times, Token};

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Automaton {
    prefix: String,
    suffix: String,
    /// The states, 64 per block; none if the pattern is a literal.
    blocks: Vec<Block>,
    /// The last state.
    accept: usize,
    /// Whether the last state is never left, because the tokens end in `**`.
    settled: bool,
}

/// 64 states, one bit each, grouped by the token that is read from them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    /// Move on at this ASCII character.
    ascii: [u64; 128],
    /// Move on at these other characters.
    other: Vec<(char, u64)>,
    /// `+`: may stay after moving on.
    repeat: u64,
    /// `*`: stay at every character but `/`.
    within: u64,
    /// `**` and `**/`: stay at every character.
    across: u64,
    /// `**/`: passed without reading on arrival only, later at a `/`.
    folders: u64,
    /// Passed without reading.
    skip: u64,
}

/// What a block passes to the next one.
#[derive(Default)]
struct Carry {
    moved: u64,
    skipped: bool,
}

impl Automaton {
    pub(super) fn new(tokens: &[Token]) -> Self {
        let is_plain = |token: &&Token| matches!(token, Token::Literal(_, Times::Once));
        let before = tokens.iter().take_while(is_plain).count();
        let after = tokens[before..].iter().rev().take_while(is_plain).count();
        let (prefix, rest) = tokens.split_at(before);
        let (middle, suffix) = rest.split_at(rest.len() - after);
        let middle = fused(middle);
        let blocks = if middle.is_empty() { 0 } else { middle.len() / 64 + 1 };
        let mut blocks = vec![Block::EMPTY; blocks];
        for (state, token) in middle.iter().enumerate() {
            blocks[state / 64].add(token, 1 << (state % 64));
        }
        Self {
            prefix: text(prefix),
            suffix: text(suffix),
            blocks,
            accept: middle.len(),
            settled: middle.last() == Some(&Token::DoubleStar),
        }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether the pattern matches all of `path`, in time proportional to its
    /// length times the number of blocks.
    pub(super) fn matches(&self, path: &str) -> bool {
        self.between_the_ends(path).is_some_and(|path| match self.blocks.len() {
            0 => path.is_empty(),
            1 => self.run(&mut [0], path),
            blocks => self.run(&mut vec![0; blocks], path),
        })
    }

    /// An empty end is not compared, because that would cost more than comparing
    /// many characters.
    fn between_the_ends<'a>(&self, path: &'a str) -> Option<&'a str> {
        let path = if self.prefix.is_empty() { path } else { path.strip_prefix(&*self.prefix)? };
        if self.suffix.is_empty() { Some(path) } else { path.strip_suffix(&*self.suffix) }
    }

    /// Inlined, so that the usual single block runs without a loop.
    #[inline(always)]
    fn run(&self, states: &mut [u64], path: &str) -> bool {
        self.start(states);
        let mut rest = path.chars();
        while let Some(c) = rest.next() {
            if self.settled && self.accepts(states) {
                return true;
            }
            let mut carry = Carry::default();
            let (mut alive, mut busy) = (0, 0);
            for (block, states) in self.blocks.iter().zip(&mut *states) {
                *states = block.step(*states, c, &mut carry);
                alive |= *states;
                busy |= *states & !block.folders;
            }
            if alive == 0 {
                return false;
            }
            // Inside the folders of `**/`, only the next `/` counts.
            if busy == 0 {
                let Some(slash) = rest.as_str().bytes().position(|b| b == b'/') else { return false };
                rest = rest.as_str()[slash..].chars();
            }
        }
        self.accepts(states)
    }

    fn start(&self, states: &mut [u64]) {
        let mut carry = Carry::default();
        let mut first = 1;
        for (block, states) in self.blocks.iter().zip(states) {
            *states = block.close(first, &mut carry);
            first = 0;
        }
    }

    fn accepts(&self, states: &[u64]) -> bool {
        states[self.accept / 64] & (1 << (self.accept % 64)) != 0
    }
}

/// `**/*` and `**/**` match what `**` matches, which is the cheapest token.
fn fused(tokens: &[Token]) -> Vec<Token> {
    let mut fused = Vec::with_capacity(tokens.len());
    for token in tokens {
        match (fused.last_mut(), token) {
            (Some(last @ Token::Folders), Token::Star | Token::DoubleStar) => *last = Token::DoubleStar,
            _ => fused.push(token.clone()),
        }
    }
    fused
}

fn text(literals: &[Token]) -> String {
    literals.iter().filter_map(|token| if let Token::Literal(c, _) = token { Some(*c) } else { None }).collect()
}

impl Block {
    const EMPTY: Self =
        Self { ascii: [0; 128], other: Vec::new(), repeat: 0, within: 0, across: 0, folders: 0, skip: 0 };

    fn add(&mut self, token: &Token, state: u64) {
        match token {
            Token::Literal(c, times) => {
                self.read(*c, state);
                self.quantify(*times, state);
            }
            Token::Class(ranges, times) => {
                ranges.iter().flat_map(|(first, last)| *first..=*last).for_each(|c| self.read(c, state));
                self.quantify(*times, state);
            }
            Token::Star => {
                self.within |= state;
                self.skip |= state;
            }
            Token::DoubleStar => {
                self.across |= state;
                self.skip |= state;
            }
            Token::Folders => {
                self.read('/', state);
                self.across |= state;
                self.folders |= state;
                self.skip |= state;
            }
        }
    }

    fn read(&mut self, c: char, state: u64) {
        match self.ascii.get_mut(c as usize) {
            Some(states) => *states |= state,
            None => self.other.push((c, state)),
        }
    }

    fn quantify(&mut self, times: Times, state: u64) {
        match times {
            Times::Once => {}
            Times::ZeroOrOne => self.skip |= state,
            Times::OneOrMore => self.repeat |= state,
        }
    }

    #[inline]
    fn step(&self, states: u64, c: char, carry: &mut Carry) -> u64 {
        let reading = match self.ascii.get(c as usize) {
            Some(reading) => states & reading,
            None => self.other.iter().filter(|(other, _)| *other == c).fold(0, |all, (_, state)| all | states & state),
        };
        let moved = reading << 1 | carry.moved;
        carry.moved = reading >> 63;
        let runs = if c == '/' { self.across } else { self.across | self.within };
        let stayed = states & runs | reading & self.repeat;
        self.close(moved | stayed & !self.folders, carry) | stayed
    }

    /// Adds the states that are reached without reading. In the sum, a carry runs
    /// from each state that can be passed to the first one that cannot.
    #[inline]
    fn close(&self, states: u64, carry: &mut Carry) -> u64 {
        let (sum, over) = self.skip.overflowing_add(states & self.skip);
        let (sum, again) = sum.overflowing_add(u64::from(carry.skipped));
        carry.skipped = over || again;
        states | (sum ^ self.skip)
    }
}
