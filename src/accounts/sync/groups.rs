//! Which lines of a job may be about one person: those that share an identity, or find one user.
//!
//! A line has a few keys, numbers made from blind indexes and user ids. Lines with a key in common
//! are in one group. Keys are short, so lines may come together that are about different people;
//! whoever reads a group tells them apart. It takes 8 bytes a key and 4 a line, and what is kept
//! afterwards is a bit a line, and 8 bytes for each line that is not alone.

/// How many bits a line's number has at most: `sync.lines_max` is below 2^25. The other 39 of an
/// entry are the key's: of twenty million lines some thousands come together by chance.
const LINE_BITS: u32 = 25;

/// One bit a line.
#[derive(Debug, Clone, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn new(lines: u32) -> Self {
        Self(vec![0; usize::try_from(lines.div_ceil(64)).unwrap_or_default()])
    }

    fn place(line: u32) -> (usize, u64) {
        (usize::try_from(line / 64).unwrap_or(usize::MAX), 1 << (line % 64))
    }

    pub(super) fn has(&self, line: u32) -> bool {
        let (word, bit) = Self::place(line);
        self.0.get(word).is_some_and(|bits| bits & bit != 0)
    }

    pub(super) fn set(&mut self, line: u32) {
        let (word, bit) = Self::place(line);
        if let Some(bits) = self.0.get_mut(word) {
            *bits |= bit;
        }
    }
}

/// The keys of all lines, while they are gathered: the random end of each, and the line.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<u64>);

impl Keys {
    /// Room for the keys of so many lines: not memory before it is used.
    pub(super) fn for_lines(lines: usize) -> Self {
        Self(Vec::with_capacity(lines.saturating_mul(3)))
    }

    /// Notes a key of a line. Its end is what is looked at.
    pub(super) fn add(&mut self, key: [u8; 8], line: u32) {
        let entry = (u64::from_be_bytes(key) << LINE_BITS) | u64::from(line);
        // The two identities of a row mostly lead to one user.
        if self.0.last() != Some(&entry) {
            self.0.push(entry);
        }
    }

    /// Adds what was gathered of other lines.
    pub(super) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// Puts the lines that share keys together.
    pub(super) fn group(mut self, lines: u32) -> Groups {
        self.0.sort_unstable();
        let mut parents: Vec<u32> = (0..lines).collect();
        for pair in self.0.windows(2) {
            let [one, other] = pair else { continue };
            if (one ^ other) >> LINE_BITS == 0 {
                join(&mut parents, line_of(*one), line_of(*other));
            }
        }
        drop(self);
        let mut together = Bits::new(lines);
        let mut members = Vec::new();
        for line in 0..lines {
            let root = root(&mut parents, line);
            if root != line {
                together.set(root);
                together.set(line);
            }
        }
        for line in (0..lines).filter(|line| together.has(*line)) {
            members.push((root(&mut parents, line), line));
        }
        members.sort_unstable();
        Groups { together, members }
    }
}

fn line_of(entry: u64) -> u32 {
    u32::try_from(entry & ((1 << LINE_BITS) - 1)).unwrap_or(u32::MAX)
}

/// The first line of a line's group.
fn root(parents: &mut [u32], mut line: u32) -> u32 {
    let at = |line: u32| usize::try_from(line).unwrap_or(usize::MAX);
    while let Some(parent) = parents.get(at(line)).copied().filter(|parent| *parent != line) {
        // Halves the way for whoever comes next.
        let above = parents.get(at(parent)).copied().unwrap_or(parent);
        if let Some(place) = parents.get_mut(at(line)) {
            *place = above;
        }
        line = above;
    }
    line
}

fn join(parents: &mut [u32], one: u32, other: u32) {
    let (one, other) = (root(parents, one), root(parents, other));
    let (first, second) = (one.min(other), one.max(other));
    if let Some(place) = parents.get_mut(usize::try_from(second).unwrap_or(usize::MAX)) {
        *place = first;
    }
}

/// Groups of lines.
#[derive(Debug, Default)]
pub(super) struct Groups {
    together: Bits,
    /// The first line of a group and one of its lines, in order.
    members: Vec<(u32, u32)>,
}

impl Groups {
    /// Whether a line shares a key with another.
    pub(super) fn is_together(&self, line: u32) -> bool {
        self.together.has(line)
    }

    /// The lines of all groups that have more of them than this, where there are any.
    pub(super) fn lines_beyond(&self, lines_max: usize) -> Option<Bits> {
        let mut beyond = Bits(vec![0; self.together.0.len()]);
        let mut has_any = false;
        for group in self.members.chunk_by(|(one, _), (other, _)| one == other) {
            if group.len() > lines_max {
                has_any = true;
                for (_, line) in group {
                    beyond.set(*line);
                }
            }
        }
        has_any.then_some(beyond)
    }

    /// These groups, but with what was found anew of some of their lines.
    pub(super) fn with(mut self, lines: &Bits, anew: Self) -> Self {
        self.members.retain(|(_, line)| !lines.has(*line));
        self.members.extend(anew.members);
        self.members.sort_unstable();
        self.together = Bits(vec![0; self.together.0.len()]);
        for (_, line) in &self.members {
            self.together.set(*line);
        }
        self
    }

    /// The lines of the group that a line is in, in their order.
    pub(super) fn lines_with(&self, line: u32) -> Vec<u32> {
        let Some((root, _)) = self.members.iter().find(|(_, member)| *member == line) else {
            return vec![line];
        };
        self.lines_of(*root)
    }

    /// The lines of the group that begins with a line.
    pub(super) fn lines_of(&self, root: u32) -> Vec<u32> {
        let start = self.members.partition_point(|(first, _)| *first < root);
        let of_it = self.members.iter().skip(start).take_while(|(first, _)| *first == root);
        of_it.map(|(_, line)| *line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_share_keys_over_others_are_one_group_and_the_rest_is_alone() {
        let mut keys = Keys::default();
        // 0 and 5 share a key, 5 and 9 another; 3 and 4 a third; 1 has one of its own.
        for (key, line) in [(1, 0), (1, 5), (2, 5), (2, 9), (3, 4), (3, 3), (4, 1)] {
            keys.add([key; 8], line);
        }
        let groups = keys.group(10);
        assert_eq!(groups.lines_of(0), [0, 5, 9]);
        assert_eq!(groups.lines_of(3), [3, 4]);
        assert_eq!(groups.lines_with(9), [0, 5, 9]);
        let alone: Vec<_> = (0..10).filter(|line| !groups.is_together(*line)).collect();
        assert_eq!(alone, [1, 2, 6, 7, 8]);
    }

    #[test]
    fn of_a_group_with_too_many_lines_what_is_found_anew_stands() {
        let group = |entries: &[(u8, u32)]| {
            let mut keys = Keys::default();
            for (key, line) in entries {
                keys.add([*key; 8], *line);
            }
            keys.group(10)
        };
        let groups = group(&[(1, 0), (1, 2), (1, 4), (1, 6), (2, 1), (2, 3), (3, 9)]);
        assert!(groups.lines_beyond(4).is_none());
        let beyond = groups.lines_beyond(3).unwrap();
        assert_eq!((0..10).filter(|line| beyond.has(*line)).collect::<Vec<_>>(), [0, 2, 4, 6]);
        let groups = groups.with(&beyond, group(&[(4, 2), (4, 6), (5, 0), (6, 4)]));
        assert_eq!((groups.lines_of(1), groups.lines_of(2)), (vec![1, 3], vec![2, 6]));
        let alone: Vec<_> = (0..10).filter(|line| !groups.is_together(*line)).collect();
        assert_eq!(alone, [0, 4, 5, 7, 8, 9]);
    }

    #[test]
    fn a_chain_of_many_lines_is_one_group() {
        let lines = 10_000_u32;
        let mut keys = Keys::default();
        for line in (0..lines).rev() {
            keys.add(u64::from(line).to_be_bytes(), line);
            keys.add(u64::from(line + 1).to_be_bytes(), line);
        }
        assert_eq!(keys.group(lines).lines_of(0).len(), 10_000);
    }
}
