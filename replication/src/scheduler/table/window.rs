//! The commands from the oldest one that is not complete on: a ring of nodes.
//!
//! Commands are numbered one after the other. What is kept in great number (nodes' lists, the table's entries) has the low 31
//! bits of a number, a *tag*; a tag names a command of the window, or one that is complete.

use super::cells::{Cells, NONE};

/// Bits of a tag; the highest of the 32 tells tags from what else stands in their place.
const TAG_BITS: u32 = 31;
const TAG_MASK: u32 = (1 << TAG_BITS) - 1;
/// Most commands in the window: half of the tags, so that old and new ones can be told apart.
const MAX_WINDOW: usize = 1 << (TAG_BITS - 1);
/// Nodes of the smallest ring.
const MIN_NODES: usize = 1 << 8;
/// Nodes of the largest ring that is kept though fewer are needed.
const KEPT_NODES: usize = 1 << 14;

/// Stands in the place of the number of predecessors.
const BEGUN: u32 = u32::MAX;
const COMPLETE: u32 = u32::MAX - 1;

/// A command: eight bytes.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// Earlier commands that it waits for, [`BEGUN`] or [`COMPLETE`].
    predecessors: u32,
    /// Later ones that wait for it.
    successors: u32,
}

const FRESH: Node = Node { predecessors: 0, successors: NONE };

/// The commands from the oldest one that is not complete on.
#[derive(Debug)]
pub(super) struct Window {
    /// A power of two of them; a command's place is its number's remainder.
    nodes: Vec<Node>,
    /// The oldest command that is not complete: the watermark.
    first: u64,
    /// The one that comes next.
    end: u64,
}

/// What is kept of a command's number.
pub(super) fn tag(number: u64) -> u32 {
    number as u32 & TAG_MASK
}

impl Window {
    pub(super) fn starting_at(number: u64) -> Window {
        Window { nodes: vec![FRESH; MIN_NODES], first: number, end: number }
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// A tag of a command that is complete.
    pub(super) fn dead_tag(&self) -> u32 {
        tag(self.first.wrapping_sub(1))
    }

    /// Whether a tag names a command of the window.
    #[inline]
    pub(super) fn contains(&self, tag: u32) -> bool {
        u64::from(tag.wrapping_sub(self.first as u32) & TAG_MASK) < self.end - self.first
    }

    /// The number of the window's command with this tag.
    fn number(&self, tag: u32) -> u64 {
        self.first + u64::from(tag.wrapping_sub(self.first as u32) & TAG_MASK)
    }

    fn node(&self, tag: u32) -> &Node {
        &self.nodes[tag as usize & (self.nodes.len() - 1)]
    }

    fn node_mut(&mut self, tag: u32) -> &mut Node {
        let mask = self.nodes.len() - 1;
        &mut self.nodes[tag as usize & mask]
    }

    /// Whether a tag names a command that is not complete.
    #[inline]
    pub(super) fn is_outstanding(&self, tag: u32) -> bool {
        self.contains(tag) && self.node(tag).predecessors != COMPLETE
    }

    pub(super) fn is_ready(&self, number: u64) -> bool {
        self.node(tag(number)).predecessors == 0
    }

    /// Makes room for `count` commands, and gives room back that far fewer need.
    pub(super) fn reserve(&mut self, count: usize) {
        let needed = (self.end - self.first) as usize + count;
        assert!(needed <= MAX_WINDOW, "at most {MAX_WINDOW} commands from the oldest outstanding one on");
        if needed > self.nodes.len() || (self.nodes.len() > KEPT_NODES && needed < self.nodes.len() / 16) {
            let mut nodes = vec![FRESH; needed.next_power_of_two().max(MIN_NODES)];
            let mask = nodes.len() - 1;
            for number in self.first..self.end {
                nodes[tag(number) as usize & mask] = *self.node(tag(number));
            }
            self.nodes = nodes;
        }
    }

    /// The next command; there is room for it.
    pub(super) fn push(&mut self) -> u32 {
        let tag = tag(self.end);
        self.end += 1;
        *self.node_mut(tag) = FRESH;
        tag
    }

    /// Makes `later` wait for `earlier`, which is not complete.
    pub(super) fn wait(&mut self, earlier: u32, later: u32, cells: &mut Cells) {
        let successors = self.node(earlier).successors;
        self.node_mut(earlier).successors = cells.insert(later, successors);
        self.node_mut(later).predecessors += 1;
    }

    pub(super) fn begin(&mut self, number: u64) {
        self.node_mut(tag(number)).predecessors = BEGUN;
    }

    /// A command is complete; `release` is called with those that waited for nothing else.
    #[inline]
    pub(super) fn complete(&mut self, number: u64, cells: &mut Cells, mut release: impl FnMut(u64)) {
        let node = self.node_mut(tag(number));
        assert!(node.predecessors == BEGUN, "E1: what has begun is completed");
        let mut successor = std::mem::replace(node, Node { predecessors: COMPLETE, successors: NONE }).successors;
        while successor != NONE {
            let (later, next) = cells.remove(successor);
            let waiting = self.node_mut(later);
            waiting.predecessors -= 1;
            if waiting.predecessors == 0 {
                release(self.number(later));
            }
            successor = next;
        }
        if number == self.first {
            while self.first < self.end && self.node(tag(self.first)).predecessors == COMPLETE {
                self.first += 1;
            }
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
    }
}
