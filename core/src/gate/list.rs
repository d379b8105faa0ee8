//! Doubly linked lists whose nodes lie in a slab, so that each step costs the same for any number of nodes.

/// The number of no node.
const NOBODY: u32 = u32::MAX;
/// So that every number is less than that of no node.
pub(super) const MOST: usize = NOBODY as usize;

/// The nodes before and behind a node in its list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    before: u32,
    behind: u32,
}

impl Links {
    /// Those of a node in no list.
    pub(super) const NONE: Links = Links { before: NOBODY, behind: NOBODY };
}

/// The first and the last node of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    first: u32,
    last: u32,
}

/// Where the nodes are.
pub(super) trait Nodes {
    /// The neighbours of a node.
    fn links(&mut self, number: usize) -> Option<&mut Links>;
}

impl List {
    pub(super) const EMPTY: List = List { first: NOBODY, last: NOBODY };

    pub(super) fn first(self) -> Option<usize> {
        (self.first != NOBODY).then_some(self.first as usize)
    }

    /// Appends a node that is in no list.
    pub(super) fn append(&mut self, nodes: &mut impl Nodes, number: usize) {
        let last = self.last;
        self.link(nodes, last, number as u32);
        self.link(nodes, number as u32, NOBODY);
    }

    /// Puts a node that is in no list before all others.
    pub(super) fn prepend(&mut self, nodes: &mut impl Nodes, number: usize) {
        let first = self.first;
        self.link(nodes, number as u32, first);
        self.link(nodes, NOBODY, number as u32);
    }

    /// Takes out a node that is in this list.
    pub(super) fn unlink(&mut self, nodes: &mut impl Nodes, number: usize) {
        let Some(Links { before, behind }) = nodes.links(number).copied() else { return };
        self.link(nodes, before, behind);
    }

    /// Makes two nodes neighbours. `NOBODY` stands before the first and after the last.
    fn link(&mut self, nodes: &mut impl Nodes, before: u32, behind: u32) {
        match nodes.links(before as usize) {
            Some(links) => links.behind = behind,
            None => self.first = behind,
        }
        match nodes.links(behind as usize) {
            Some(links) => links.before = before,
            None => self.last = before,
        }
    }
}
