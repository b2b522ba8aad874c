//! Edits of a `Cargo.toml` that leave everything else as it is.

use std::fs;
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, InlineTable, Item, Key, RawString, Table, Value};

use super::{CRATE, Change, InitError, NewText, Source};

/// A `Cargo.toml` that is being edited.
pub(super) struct Manifest {
    pub(super) path: PathBuf,
    before: Vec<u8>,
    /// With `\n` only, and without a byte order mark: toml_edit keeps neither.
    pub(super) document: DocumentMut,
    /// Ending of the first line, and so of all.
    newline: &'static str,
    mark: &'static str,
    /// Position of the next new table, behind every one that was read.
    end: isize,
    changes: Vec<Change>,
}

impl Manifest {
    pub(super) fn read(path: &Path) -> Result<Self, InitError> {
        let before = fs::read(path).map_err(InitError::io("read", path))?;
        let text = str::from_utf8(&before)
            .map_err(|error| parse_error(path, &before[..error.valid_up_to()], "not UTF-8"))?;
        let (mark, text) = match text.strip_prefix('\u{feff}') {
            Some(text) => ("\u{feff}", text),
            None => ("", text),
        };
        let first_line = text.split_inclusive('\n').next().unwrap_or_default();
        let newline = if first_line.ends_with("\r\n") { "\r\n" } else { "\n" };
        let text = text.replace("\r\n", "\n");
        let document = text.parse().map_err(|error: toml_edit::TomlError| {
            let start = error.span().map_or(0, |span| span.start);
            parse_error(path, &text.as_bytes()[..start.min(text.len())], error.message())
        })?;
        let (path, end, changes) = (path.to_owned(), isize::MAX / 2, vec![]);
        Ok(Self { path, before, document, newline, mark, end, changes })
    }

    /// The file to write and why, if there is a reason.
    pub(super) fn into_new_text(self) -> Option<(NewText, Vec<Change>)> {
        if self.changes.is_empty() {
            return None;
        }
        let text = self.document.to_string().replace('\n', self.newline);
        let after = format!("{}{text}", self.mark);
        Some((NewText { path: self.path, before: Some(self.before), after }, self.changes))
    }

    fn changed(&mut self, what: String) {
        self.changes.push(Change { file: self.path.clone(), what });
    }

    /// Adds `package` to the first of `tables` that there is, unless one of them has it.
    pub(super) fn add_dependency(
        &mut self,
        package: &'static str,
        tables: &[&str],
        source: &Source,
    ) -> Result<(), InitError> {
        let root = self.document.as_table();
        let targets = root.get("target").and_then(Item::as_table_like);
        let targets = targets.into_iter().flat_map(|targets| targets.iter()).map(|(_, item)| item);
        // A user who depends on it for some targets only wants it so.
        for of_target in [self.document.as_item()].into_iter().chain(targets) {
            for table in tables {
                let table = of_target.get(table).and_then(Item::as_table_like);
                for (name, dependency) in table.into_iter().flat_map(|table| table.iter()) {
                    if name == package {
                        return Ok(());
                    }
                    if dependency.get("package").and_then(Item::as_str) == Some(package) {
                        let (path, name) = (self.path.clone(), name.to_owned());
                        return Err(InitError::Renamed { path, package, name });
                    }
                }
            }
        }
        let value = match source {
            Source::Registry { version } => Value::from(version),
            Source::Path(checkout) => {
                let folder =
                    if package == CRATE { checkout.clone() } else { checkout.join(package) };
                let path = folder.to_str().ok_or(InitError::NotUtf8 { path: folder.clone() })?;
                // Without a version the crate could not be packaged.
                let version = env!("CARGO_PKG_VERSION");
                Value::from(InlineTable::from_iter([("path", path), ("version", version)]))
            }
        };
        let there = |table: &&&str| self.document.contains_key(table);
        let table = tables.iter().find(there).unwrap_or(&tables[0]);
        insert(self.table(&[table], "")?.0, package, value, "");
        self.changed(match package {
            CRATE => format!("added dependency {package}"),
            _ => format!("added build-dependency {package}"),
        });
        Ok(())
    }

    /// Sets `opt-level = 3` in a profile that has none.
    pub(super) fn optimise(
        &mut self,
        keys: &[&str],
        comment: &str,
        notes: &mut Vec<String>,
    ) -> Result<(), InitError> {
        let (shown, path) = (shown(keys), self.path.clone());
        let (table, new) = self.table(keys, comment)?;
        match table.get("opt-level") {
            None => {
                insert(table, "opt-level", 3, if new { "" } else { comment });
                self.changed(format!("set {shown}.opt-level to 3"));
            }
            Some(level)
                if level.as_integer().is_some_and(|level| level >= 1)
                    || level.as_str().is_some_and(|level| ["s", "z"].contains(&level)) => {}
            Some(level) => notes.push(format!(
                "`{}` sets {shown}.opt-level to {}: models compile and run many times slower \
                 than with 3",
                path.display(),
                level.to_string().trim()
            )),
        }
        Ok(())
    }

    /// The table of this name, and whether it is new: with a header at the end of the file, or
    /// within what the user writes without headers.
    fn table(&mut self, keys: &[&str], comment: &str) -> Result<(&mut Item, bool), InitError> {
        let (mut parent, mut depth) = (self.document.as_item(), 0);
        while let Some(item) = keys.get(depth).and_then(|key| parent.get(key)) {
            (parent, depth) = (item, depth + 1);
        }
        if !parent.is_table_like() {
            let (path, key, got) = (self.path.clone(), shown(&keys[..depth]), parent.type_name());
            return Err(InitError::Layout { path, key, got, expected: "table" });
        }
        // A table below a dotted key or within braces cannot have a header.
        let headed = parent.as_table().is_some_and(|table| !table.is_dotted());
        let Some((key, nested)) = keys[depth..].split_first() else {
            return Ok((self.at(keys), false));
        };
        let child = if headed {
            let mut table = Table::new();
            table.set_position(Some(self.end));
            self.end += 1;
            table.decor_mut().set_prefix(self.end_of_file() + &line(comment));
            nested.iter().rev().fold(Item::Table(table), |inner, key| {
                let mut outer = Table::new();
                outer.set_implicit(true);
                outer.insert(key, inner);
                Item::Table(outer)
            })
        } else {
            let table = Value::InlineTable(InlineTable::new());
            Item::Value(nested.iter().rev().fold(table, |inner, key| {
                Value::InlineTable(InlineTable::from_iter([(*key, inner)]))
            }))
        };
        insert(self.at(&keys[..depth]), key, child, if headed { "" } else { comment });
        Ok((self.at(keys), true))
    }

    /// An item that is there.
    fn at(&mut self, keys: &[&str]) -> &mut Item {
        keys.iter().fold(self.document.as_item_mut(), |item, key| &mut item[*key])
    }

    /// Takes the comments after the last table, which toml_edit would move behind a new one, and
    /// adds an empty line.
    fn end_of_file(&mut self) -> String {
        let mut end = self.document.trailing().as_str().unwrap_or_default().to_owned();
        self.document.set_trailing("");
        if !end.is_empty() && !end.ends_with('\n') {
            end.push('\n');
        }
        if end != "\n" && !end.ends_with("\n\n") {
            end.push('\n');
        }
        end
    }
}

/// Adds an entry that is not there, below `comment` where the table has lines of its own.
fn insert(table: &mut Item, key: &str, item: impl Into<Item>, comment: &str) {
    let item = item.into();
    if let Some(table) = table.as_table_mut() {
        table.insert(key, item);
        if let Some(mut key) = table.key_mut(key) {
            key.leaf_decor_mut().set_prefix(line(comment));
        }
    } else if let Some(table) = table.as_inline_table_mut()
        && let Ok(mut value) = item.into_value()
    {
        // The space before the brace belongs to the last value.
        let mut space = RawString::from(" ");
        if table.trailing_comma() {
            space = RawString::default();
        } else if let Some((_, last)) = table.iter_mut().last() {
            space = last.decor().suffix().cloned().unwrap_or(space);
            last.decor_mut().set_suffix("");
        }
        value.decor_mut().set_prefix(" ");
        value.decor_mut().set_suffix(space);
        table.insert(key, value);
    }
}

fn parse_error(path: &Path, before: &[u8], reason: &str) -> InitError {
    InitError::Parse {
        path: path.to_owned(),
        line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
        reason: reason.lines().collect::<Vec<_>>().join("; "),
    }
}

/// `comment` as a line of a file.
fn line(comment: &str) -> String {
    if comment.is_empty() { String::new() } else { format!("{comment}\n") }
}

/// Keys as people write them.
fn shown(keys: &[&str]) -> String {
    keys.iter().map(|key| Key::new(*key).display_repr().into_owned()).collect::<Vec<_>>().join(".")
}
