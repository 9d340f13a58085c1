//! What the terminal is like: its colours, where they are wanted, and its width.

use std::io::{self, IsTerminal};

use rustix::termios::tcgetwinsize;

/// Whether to colour, asked once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(bool);

impl Paint {
    /// For standard output, by <https://no-color.org>.
    pub(crate) fn for_stdout() -> Self {
        Self(io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none())
    }

    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(false)
    }

    /// The colour of a generation.
    pub(crate) fn of(self, generation: Option<u32>, text: &str) -> String {
        let colour = generation.map_or(7, |number| COLOURS[number as usize % COLOURS.len()]);
        self.code(&format!("3{colour}"), text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.code("1;32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.code("1;31", text)
    }

    fn code(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// How many columns standard output has; without end where it is no terminal.
pub(crate) fn columns() -> usize {
    tcgetwinsize(io::stdout()).map_or(usize::MAX, |size| size.ws_col.into())
}

/// Cyan, yellow, magenta, green, blue.
const COLOURS: [u8; 5] = [6, 3, 5, 2, 4];
