//! Colours, where they are wanted.
//!
//! Rule: text without colours is the same text; nothing is told by colour alone.

/// Paints text with ANSI colours, or leaves it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Without colours.
    pub const PLAIN: Self = Self { on: false };

    /// With or without.
    pub const fn new(on: bool) -> Self {
        Self { on }
    }

    /// Whether colours are on.
    pub const fn on(self) -> bool {
        self.on
    }

    fn code(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }

    /// Good news.
    pub fn good(self, text: &str) -> String {
        self.code("1;32", text)
    }

    /// Bad news.
    pub fn bad(self, text: &str) -> String {
        self.code("1;31", text)
    }

    /// News that may be either.
    pub fn warn(self, text: &str) -> String {
        self.code("1;33", text)
    }

    /// Headings.
    pub fn strong(self, text: &str) -> String {
        self.code("1", text)
    }

    /// Asides.
    pub fn faint(self, text: &str) -> String {
        self.code("2", text)
    }
}
