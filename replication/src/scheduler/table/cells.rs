//! Linked lists of numbers that share one store, so that millions of short ones cost eight bytes an element.

/// The end of a list, or none.
pub(super) const NONE: u32 = u32::MAX;

/// An element, and the one after it.
#[derive(Debug, Clone, Copy)]
struct Cell {
    value: u32,
    next: u32,
}

/// Elements, and those among them that are free.
#[derive(Debug)]
pub(super) struct Cells {
    cells: Vec<Cell>,
    free: u32,
    used: usize,
}

/// Free cells that are kept when none is in use.
const KEPT: usize = 1 << 12;

impl Default for Cells {
    fn default() -> Cells {
        Cells { cells: Vec::new(), free: NONE, used: 0 }
    }
}

impl Cells {
    /// A new cell before `next`.
    pub(super) fn insert(&mut self, value: u32, next: u32) -> u32 {
        self.used += 1;
        let cell = Cell { value, next };
        match self.cells.get_mut(self.free as usize) {
            Some(free) => {
                let place = self.free;
                self.free = free.next;
                *free = cell;
                place
            }
            None => {
                self.cells.push(cell);
                self.cells.len() as u32 - 1
            }
        }
    }

    /// A new ring of one cell.
    pub(super) fn insert_ring(&mut self, value: u32) -> u32 {
        let place = self.insert(value, NONE);
        self.cells[place as usize].next = place;
        place
    }

    /// A new cell after another one.
    pub(super) fn insert_after(&mut self, place: u32, value: u32) -> u32 {
        let next = self.next(place);
        let inserted = self.insert(value, next);
        self.cells[place as usize].next = inserted;
        inserted
    }

    pub(super) fn value(&self, place: u32) -> u32 {
        self.cells[place as usize].value
    }

    pub(super) fn next(&self, place: u32) -> u32 {
        self.cells[place as usize].next
    }

    /// Takes out the cell after another one.
    pub(super) fn remove_after(&mut self, place: u32) {
        let removed = self.next(place);
        self.cells[place as usize].next = self.next(removed);
        self.remove(removed);
    }

    /// Frees a cell that nothing leads to any more: its value, and the one after it.
    pub(super) fn remove(&mut self, place: u32) -> (u32, u32) {
        let Cell { value, next } = self.cells[place as usize];
        self.cells[place as usize].next = self.free;
        self.free = place;
        self.used -= 1;
        (value, next)
    }

    /// Gives memory back where none is in use.
    pub(super) fn tidy(&mut self) {
        if self.used == 0 && self.cells.len() > KEPT {
            *self = Cells::default();
        }
    }

    /// Cells in use.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.cells.capacity() * size_of::<Cell>()
    }
}
