//! A bound on how deeply a manifest is nested, checked before the TOML parser sees it.
//!
//! The parser, and the destructor of the tree it builds, recurse once for each level; up to some
//! thousand levels pass its own limits (dotted keys inside inline tables inside dotted headers). EL2 has
//! a small stack, and a manifest never needs more than a few levels.

use toml_parser::Source;
use toml_parser::lexer::TokenKind;

/// Open brackets, and dots of one key, that a manifest may have. The deepest that means anything is
/// `vm = [{ args = ["x"] }]`.
const LIMIT: usize = 4;

/// Where `text` goes beyond the limit, as a byte offset.
pub(super) fn too_deep(text: &str) -> Option<usize> {
    let mut brackets: usize = 0;
    let mut dots: usize = 0;
    for token in Source::new(text).lex() {
        match token.kind() {
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => brackets += 1,
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => {
                brackets = brackets.saturating_sub(1);
            }
            TokenKind::Dot => dots += 1,
            TokenKind::Equals | TokenKind::Comma | TokenKind::Newline => dots = 0,
            _ => {}
        }
        if brackets > LIMIT || dots > LIMIT {
            return Some(token.span().start());
        }
    }
    None
}
