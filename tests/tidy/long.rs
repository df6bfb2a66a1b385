//! Files that are longer than a file may be.

/// Longest file, in lines of code: blank lines and comments do not count, nor tests at its end.
pub(crate) const LINES_MAX: usize = 300;

/// Files that may be longer, up to this many lines, and why.
pub(crate) const LONGER: [(&str, usize, &str); 1] = [(
    "src/shard/simulation/node.rs",
    700,
    "a test: all that a simulated node does, in one place",
)];
