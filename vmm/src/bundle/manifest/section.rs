//! The parsed manifest, with what a message needs to say where something is wrong in it.

use core::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ManifestError, Position, Problem};

/// A table of the manifest.
pub(super) struct Section<'a> {
    text: &'a str,
    vm: &'a str,
    span: Range<usize>,
    table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    /// The whole document.
    pub(super) fn top(text: &'a str, table: &'a DeTable<'a>) -> Self {
        Self { text, vm: "", span: 0..0, table }
    }

    /// Checks that the table has no other keys than these.
    pub(super) fn allow_only(&self, known: &'static [&'static str]) -> Result<(), ManifestError> {
        match self.table.keys().find(|key| !known.contains(&key.get_ref().as_ref())) {
            Some(key) => Err(ManifestError::new(self.text, key.span().start, Problem::UnknownKey(known))
                .of_vm(self.vm)
                .about(self.text.get(key.span()).unwrap_or_default(), "")),
            None => Ok(()),
        }
    }

    /// The value of `key`, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        self.table.get_key_value(key).map(|(key, value)| self.value(key.get_ref(), value))
    }

    /// The value of a key that must be there.
    pub(super) fn require(&self, key: &'static str) -> Result<Value<'a>, ManifestError> {
        self.get(key).ok_or_else(|| self.error(Problem::MissingKey(key)))
    }

    /// All values, each with its key.
    pub(super) fn values(&self) -> impl Iterator<Item = Value<'a>> {
        self.table.iter().map(|(key, value)| self.value(key.get_ref(), value))
    }

    /// What is wrong with the table as a whole.
    pub(super) fn error(&self, problem: Problem) -> ManifestError {
        ManifestError::new(self.text, self.span.start, problem).of_vm(self.vm)
    }

    fn value(&self, key: &'a str, value: &'a Spanned<DeValue<'a>>) -> Value<'a> {
        Value { text: self.text, vm: self.vm, key, value }
    }
}

/// A value of the manifest.
pub(super) struct Value<'a> {
    text: &'a str,
    vm: &'a str,
    /// Its key; an item of an array has the array's.
    pub(super) key: &'a str,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Value<'a> {
    pub(super) fn string(&self) -> Result<&'a str, ManifestError> {
        self.value.get_ref().as_str().ok_or_else(|| self.error(Problem::WrongType("a string")))
    }

    pub(super) fn boolean(&self) -> Result<bool, ManifestError> {
        self.value.get_ref().as_bool().ok_or_else(|| self.error(Problem::WrongType("true or false")))
    }

    /// A whole number; one that is too large for any key becomes the largest.
    pub(super) fn integer(&self) -> Result<i64, ManifestError> {
        let integer = self.value.get_ref().as_integer();
        let integer = integer.ok_or_else(|| self.error(Problem::WrongType("a whole number")))?;
        Ok(i64::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i64::MAX))
    }

    /// An address: a whole number, or a string with one in hexadecimal.
    pub(super) fn address(&self) -> Result<u64, ManifestError> {
        let address = match self.value.get_ref().as_str() {
            Some(text) => text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok()),
            None => u64::try_from(self.integer()?).ok(),
        };
        address.ok_or_else(|| self.error(Problem::Address))
    }

    /// The items of an array; `expected` says in a message what should be here.
    pub(super) fn array(
        &self,
        expected: &'static str,
    ) -> Result<impl Iterator<Item = Value<'a>>, ManifestError> {
        let array = self.value.get_ref().as_array();
        let array = array.ok_or_else(|| self.error(Problem::WrongType(expected)))?;
        let (text, vm, key) = (self.text, self.vm, self.key);
        Ok(array.iter().map(move |value| Value { text, vm, key, value }))
    }

    /// A table; `expected` says in a message what should be here.
    pub(super) fn section(&self, expected: &'static str) -> Result<Section<'a>, ManifestError> {
        let table = self.value.get_ref().as_table();
        let table = table.ok_or_else(|| self.error(Problem::WrongType(expected)))?;
        let name = table.get("name").and_then(|name| name.get_ref().as_str());
        let vm = if self.vm.is_empty() { name.unwrap_or_default() } else { self.vm };
        Ok(Section { text: self.text, vm, span: self.value.span(), table })
    }

    /// Where the value is.
    pub(super) fn position(&self) -> Position {
        Position::of(self.text, self.value.span().start)
    }

    /// What is wrong with the value.
    pub(super) fn error(&self, problem: Problem) -> ManifestError {
        let value = self.text.get(self.value.span()).unwrap_or_default();
        ManifestError::new(self.text, self.value.span().start, problem).of_vm(self.vm).about(self.key, value)
    }
}
