//! apt's lists of package archives, in both of their formats.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// One entry: a paragraph of a `.sources` file, or a line of a `.list` file in the same terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Field names and values. A value may have several lines.
    fields: Vec<(String, String)>,
}

impl Source {
    /// Whether apt uses the entry and it offers ready-made packages.
    fn is_active(&self) -> bool {
        let enabled = !matches!(self.get("Enabled"), Some("no" | "false" | "off" | "0"));
        enabled && self.words("Types").any(|kind| kind == "deb")
    }

    /// Whether it has the suite `name`.
    fn has_suite(&self, name: &str) -> bool {
        self.words("Suites").any(|suite| suite == name)
    }

    /// Whether it belongs to the release `codename`: has that suite or its updates.
    fn belongs_to(&self, codename: &str) -> bool {
        let own = |suite: &str| {
            suite.strip_prefix(codename).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '/']))
        };
        self.words("Suites").any(own)
    }

    /// The same archive with another kind of content and another suite.
    pub fn with(&self, kind: &str, suite: &str) -> Self {
        self.replacing(&[("Types", kind), ("Suites", suite)])
    }

    /// The same with another part of the archive.
    pub fn with_component(&self, component: &str) -> Self {
        self.replacing(&[("Components", component)])
    }

    fn replacing(&self, new: &[(&str, &str)]) -> Self {
        let replaced = |name: &str| new.iter().any(|(other, _)| name.eq_ignore_ascii_case(other));
        let kept = self.fields.iter().filter(|(name, _)| !replaced(name)).cloned();
        let new = new.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { fields: new.chain(kept).collect() }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        self.get(name).unwrap_or_default().split_whitespace()
    }
}

/// As a paragraph of a `.sources` file.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fields.iter().try_for_each(|(name, value)| writeln!(f, "{name}: {value}"))
    }
}

/// The archives of the machine's own release.
#[derive(Debug)]
pub struct Archives(Vec<Source>);

impl Archives {
    /// Reads the configuration below `/etc/apt`.
    pub fn of_machine(codename: &str) -> Self {
        let texts = files().into_iter().filter_map(|path| Some((fs::read_to_string(&path).ok()?, path)));
        let sources = texts.flat_map(|(text, path)| parse(&text, &path));
        Self(sources.filter(|source| source.is_active() && source.belongs_to(codename)).collect())
    }

    /// All of them.
    pub fn all(&self) -> &[Source] {
        &self.0
    }

    /// The one with the release itself, not its updates.
    pub fn main(&self, codename: &str) -> Option<&Source> {
        self.0.iter().find(|source| source.has_suite(codename))
    }
}

fn files() -> Vec<PathBuf> {
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten();
    let mut files: Vec<PathBuf> = parts.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files.insert(0, PathBuf::from("/etc/apt/sources.list"));
    files
}

fn parse(text: &str, path: &Path) -> Vec<Source> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("sources") => parse_paragraphs(text),
        Some("list") => text.lines().filter_map(parse_line).collect(),
        _ => Vec::new(),
    }
}

fn parse_paragraphs(text: &str) -> Vec<Source> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let paragraphs = lines.split(|line| line.trim().is_empty());
    paragraphs.filter(|lines| !lines.is_empty()).map(parse_paragraph).collect()
}

fn parse_paragraph(lines: &[&str]) -> Source {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in lines {
        match (line.starts_with([' ', '\t']), fields.last_mut(), line.split_once(':')) {
            (true, Some((_, value)), _) => *value = format!("{value}\n{line}"),
            (false, _, Some((name, value))) => fields.push((name.trim().to_owned(), value.trim().to_owned())),
            _ => {}
        }
    }
    Source { fields }
}

/// Reads `deb [option=value ...] URI suite component...`.
fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let (kind, rest) = line.split_once(char::is_whitespace)?;
    let (options, rest) = match rest.trim().strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let mut fields = vec![("Types", kind.to_owned())];
    fields.push(("URIs", words.next()?.to_owned()));
    fields.push(("Suites", words.next()?.to_owned()));
    fields.push(("Components", words.collect::<Vec<_>>().join(" ")));
    fields.extend(options.split_whitespace().filter_map(parse_option));
    Some(Source { fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() })
}

fn parse_option(option: &str) -> Option<(&'static str, String)> {
    let (name, value) = option.split_once('=')?;
    let field = match name {
        "signed-by" => "Signed-By",
        "arch" => "Architectures",
        "trusted" => "Trusted",
        "check-valid-until" => "Check-Valid-Until",
        _ => return None,
    };
    Some((field, value.replace(',', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAGRAPHS: &str = "\
# a comment
Types: deb deb-src
URIs: http://archive.test/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/test.gpg

Enabled: no
Types: deb
URIs: http://off.test
Suites: bookworm

Types: deb
URIs: http://security.test
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

types: deb
uris: http://other.test
suites: bookwormish
";

    fn archives(text: &str, file: &str) -> Archives {
        let sources = parse(text, Path::new(file));
        Archives(sources.into_iter().filter(|s| s.is_active() && s.belongs_to("bookworm")).collect())
    }

    #[test]
    fn reads_paragraphs() {
        let archives = archives(PARAGRAPHS, "debian.sources");
        assert_eq!(archives.all().len(), 2);
        assert_eq!(archives.main("bookworm").unwrap().get("uris"), Some("http://archive.test/debian"));
        let security = archives.all()[1].to_string();
        assert!(
            security.ends_with("Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"),
            "{security}"
        );
    }

    #[test]
    fn reads_lines() {
        let text = "# deb http://no.test bookworm main\n\
                    deb [arch=amd64,arm64 signed-by=/k.gpg] http://archive.test/debian bookworm main contrib # why\n\
                    deb-src http://archive.test/debian bookworm main\n\
                    deb http://broken.test\n";
        let archives = archives(text, "sources.list");
        assert_eq!(archives.all().len(), 1);
        assert_eq!(
            archives.all()[0].to_string(),
            "Types: deb\nURIs: http://archive.test/debian\nSuites: bookworm\nComponents: main contrib\n\
             Architectures: amd64 arm64\nSigned-By: /k.gpg\n"
        );
    }

    #[test]
    fn other_files_are_no_sources() {
        assert!(archives(PARAGRAPHS, "debian.sources.save").all().is_empty());
    }

    #[test]
    fn another_suite_of_the_same_archive() {
        let archives = archives(PARAGRAPHS, "debian.sources");
        assert_eq!(
            archives.main("bookworm").unwrap().with("deb-src", "trixie").to_string(),
            "Types: deb-src\nSuites: trixie\nURIs: http://archive.test/debian\nComponents: main\n\
             Signed-By: /usr/share/keyrings/test.gpg\n"
        );
        let firmware = archives.main("bookworm").unwrap().with_component("non-free-firmware").to_string();
        assert!(firmware.starts_with("Components: non-free-firmware\n"), "{firmware}");
        assert!(!firmware.contains("main"), "{firmware}");
    }
}
