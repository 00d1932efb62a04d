//! An area of the terminal that is painted again and again, below lines that stay.

use std::io::{self, Write};

/// The area, and where it is.
#[derive(Debug)]
pub struct LiveArea<W> {
    out: W,
    /// Lines of it that are shown now.
    shown_lines: usize,
}

impl<W: Write> LiveArea<W> {
    /// An area at the end of what was written.
    pub fn new(out: W) -> LiveArea<W> {
        LiveArea { out, shown_lines: 0 }
    }

    /// Shows this text, which ends with a line end, in place of what was shown.
    ///
    /// # Errors
    /// The output fails.
    pub fn paint(&mut self, text: &str) -> io::Result<()> {
        let erase = self.erase();
        self.shown_lines = text.lines().count();
        // In one piece, or the terminal flickers.
        self.out.write_all(format!("{erase}{text}").as_bytes())?;
        self.out.flush()
    }

    /// Writes lines that stay, where the area was; it is below them when it is painted next.
    ///
    /// # Errors
    /// The output fails.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        let erase = self.erase();
        self.shown_lines = 0;
        self.out.write_all(format!("{erase}{text}\n").as_bytes())?;
        self.out.flush()
    }

    /// What removes the area: up so many lines, to the left, and clear all that follows.
    fn erase(&self) -> String {
        if self.shown_lines == 0 { String::new() } else { format!("\x1b[{}A\r\x1b[J", self.shown_lines) }
    }
}

#[cfg(test)]
mod tests {
    use super::LiveArea;

    #[test]
    fn only_what_was_painted_is_erased() {
        let mut area = LiveArea::new(Vec::new());
        area.say("first").unwrap();
        area.paint("a\nb\n").unwrap();
        area.paint("c\n").unwrap();
        area.say("second").unwrap();
        area.paint("d\n").unwrap();
        let written = String::from_utf8(area.out).unwrap();
        assert_eq!(written, "first\na\nb\n\x1b[2A\r\x1b[Jc\n\x1b[1A\r\x1b[Jsecond\nd\n");
    }
}
