//! Where a crate's sources use `#[nomopoly::model("...")]`.
//!
//! Modules are followed as rustc follows them (`rustc_expand::module`), but before any macro runs
//! and with every `cfg` taken as true: compiling a model that this build does not use costs time,
//! a model that is not compiled costs the build.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Block, Expr, ExprLit, Ident, Lit, LitStr, Meta, MetaNameValue, Stmt, Token, UseTree,
};

/// Larger files are generated ones, which take syn minutes in an unoptimised build script.
const MAX_BYTES: u64 = 16 << 20;
/// syn recurses as deep as expressions nest, and a main thread has 1 MiB on some systems.
const STACK_BYTES: usize = 64 << 20;

/// One use of the attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Path of the model as written, relative to the crate's `Cargo.toml`.
    pub path: String,
    /// Source file that holds the attribute.
    pub file: PathBuf,
    /// Line of the path in it, counted from 1.
    pub line: usize,
}

/// What [`find`] found.
#[derive(Debug, Default)]
pub struct References {
    /// Every use; one model may be named several times.
    pub models: Vec<Reference>,
    /// Every source file that was opened, each once and in that order, even if it does not parse:
    /// a change to any of them can change `models`.
    pub sources: Vec<PathBuf>,
    /// What could not be read or parsed, in words. Never fatal: rustc reports the same, and better.
    pub notes: Vec<String>,
}

/// Searches the files in `roots` (the `src_path` of each target of a package) and all their
/// modules.
pub fn find(roots: &[PathBuf]) -> References {
    thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(STACK_BYTES);
        match builder.spawn_scoped(scope, || search(roots)) {
            Ok(thread) => thread.join().unwrap_or_else(|_| References {
                notes: vec!["the search for models in the sources failed".to_owned()],
                ..References::default()
            }),
            Err(_) => search(roots),
        }
    })
}

fn search(roots: &[PathBuf]) -> References {
    let mut found = References::default();
    let mut opened = HashSet::new();
    let mut visited = HashSet::new();
    let mut pending: Vec<Module> =
        roots.iter().rev().map(|root| Module::new(root.clone(), None, false)).collect();
    while let Some(module) = pending.pop() {
        let identity = module.identity();
        // The same file under another name or place is read again, for its modules lie elsewhere.
        let first = opened.insert(identity.0.clone());
        if !visited.insert(identity) {
            continue;
        }
        let parsed = read(&module.file);
        if first && module.file.is_file() {
            found.sources.push(module.file.clone());
        }
        match parsed {
            Ok(file) => {
                let mut visitor = Visitor::new(module);
                visitor.optional |= is_conditional(&file.attrs);
                visitor.visit_file(&file);
                pending.extend(visitor.modules.drain(..).rev());
                if first {
                    found.notes.append(&mut visitor.notes);
                    found.models.extend(visitor.into_references());
                }
            }
            Err(note) if first => found.notes.push(note),
            Err(_) => {}
        }
    }
    found
}

fn read(path: &Path) -> Result<syn::File, String> {
    let shown = path.display();
    let unreadable = |error| format!("cannot read `{shown}`: {error}");
    let metadata = fs::metadata(path).map_err(unreadable)?;
    // Opening a pipe would wait for its writer.
    if !metadata.is_file() {
        return Err(format!("cannot read `{shown}`: not a file"));
    }
    if metadata.len() > MAX_BYTES {
        return Err(format!(
            "`{shown}` has {} bytes: models are searched for in files up to {MAX_BYTES} bytes",
            metadata.len()
        ));
    }
    let text = String::from_utf8(fs::read(path).map_err(unreadable)?)
        .map_err(|_| format!("cannot read `{shown}`: not UTF-8"))?;
    syn::parse_file(&text).map_err(|error| {
        format!("cannot parse `{shown}`: line {}: {error}", error.span().start().line)
    })
}

/// Where modules of the code at hand lie.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    folder: PathBuf,
    /// Folder within `folder` where `mod x;` looks, but `#[path]` does not: the name of a file
    /// that is neither a crate root nor `mod.rs`, until an inline module enters the folder.
    relative: Option<String>,
    /// In a block `mod x;` is an error without `#[path]`.
    in_block: bool,
}

impl Place {
    fn enter_module(&mut self, name: String, path: Option<&str>) {
        if let Some(path) = path {
            let folder = join(&self.folder, path);
            *self = Self { folder, relative: None, in_block: false };
        } else {
            self.folder.extend(self.relative.take());
            self.folder.push(name);
        }
    }

    fn enter_block(&mut self) {
        self.in_block = true;
        self.relative = None;
    }
}

/// A file of the crate.
struct Module {
    file: PathBuf,
    place: Place,
    /// Whether a `cfg` may remove the module.
    optional: bool,
}

impl Module {
    fn new(file: PathBuf, relative: Option<String>, optional: bool) -> Self {
        let folder = file.parent().unwrap_or(&file).to_owned();
        Self { file, place: Place { folder, relative, in_block: false }, optional }
    }

    /// Equal for two modules that have the same contents and the same modules, so that cycles end
    /// even if each turn lengthens the path.
    fn identity(&self) -> (PathBuf, Place) {
        let canonical = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let folder = if self.place.folder.as_os_str().is_empty() {
            canonical(Path::new("."))
        } else {
            canonical(&self.place.folder)
        };
        (canonical(&self.file), Place { folder, ..self.place.clone() })
    }
}

/// Collects what one file holds.
struct Visitor {
    file: PathBuf,
    place: Place,
    optional: bool,
    modules: Vec<Module>,
    notes: Vec<String>,
    /// Attributes with fitting arguments, by path: a `use` may come after them.
    candidates: Vec<(Vec<String>, Reference)>,
    /// Names of the crate in this file, in whatever scope.
    crates: HashSet<String>,
    /// Names of the attribute, likewise.
    attributes: HashSet<String>,
}

impl Visitor {
    fn new(module: Module) -> Self {
        Self {
            file: module.file,
            place: module.place,
            optional: module.optional,
            modules: vec![],
            notes: vec![],
            candidates: vec![],
            crates: HashSet::from(["nomopoly".to_owned()]),
            attributes: HashSet::new(),
        }
    }

    fn into_references(self) -> impl Iterator<Item = Reference> {
        let Self { candidates, crates, attributes, .. } = self;
        candidates.into_iter().filter_map(move |(path, reference)| {
            let ours = match path.as_slice() {
                [attribute] => attributes.contains(attribute),
                [krate, attribute] => attribute == "model" && crates.contains(krate),
                _ => false,
            };
            ours.then_some(reference)
        })
    }

    /// Queues the file of `mod name;`.
    fn follow(&mut self, item: &syn::ItemMod, name: String) {
        let optional = self.optional || is_conditional(&item.attrs);
        let (conditional, path) = path_attributes(&item.attrs);
        // Which of these rustc takes depends on the target: every one that is there.
        let mut files: Vec<(PathBuf, Option<String>)> =
            conditional.iter().map(|path| (join(&self.place.folder, path), None)).collect();
        if let Some(path) = path {
            files.push((join(&self.place.folder, &path), None));
        } else if !self.place.in_block {
            let mut folder = self.place.folder.clone();
            folder.extend(self.place.relative.as_ref());
            let (file, nested) = (format!("{name}.rs"), Path::new(&name).join("mod.rs"));
            if folder.join(&file).is_file() {
                files.push((folder.join(file), Some(name.clone())));
            } else {
                files.push((folder.join(nested), None));
            }
        }
        let expected = !files.is_empty() && conditional.is_empty() && !optional;
        files.retain(|(file, _)| file.is_file());
        if expected && files.is_empty() {
            let line = item.ident.span().start().line;
            let file = self.file.display();
            self.notes.push(format!("no file for `mod {name};` in `{file}`, line {line}"));
        }
        let module = |(file, relative)| Module::new(file, relative, optional);
        self.modules.extend(files.into_iter().map(module));
    }

    /// Looks for items in the arguments of a macro, as in `cfg_if! { if #[cfg(..)] { mod x; } }`.
    fn visit_tokens(&mut self, tokens: TokenStream) {
        if let Ok(items) = syn::parse2::<syn::File>(tokens.clone()) {
            self.visit_file(&items);
            return;
        }
        if let Ok(statements) = Block::parse_within.parse2(tokens.clone())
            && statements.iter().any(|statement| matches!(statement, Stmt::Item(_)))
        {
            statements.iter().for_each(|statement| self.visit_stmt(statement));
            return;
        }
        for token in tokens {
            if let TokenTree::Group(group) = token {
                self.visit_tokens(group.stream());
            }
        }
    }

    fn visit_macro_of_items(&mut self, tokens: &TokenStream) {
        let outer = std::mem::replace(&mut self.optional, true);
        self.visit_tokens(tokens.clone());
        self.optional = outer;
    }

    /// Notes what a `use` names; `krate` says that the path so far is the crate.
    fn import(&mut self, tree: &UseTree, krate: bool) {
        match tree {
            UseTree::Path(path) if !krate && is(&path.ident, "nomopoly") => {
                self.import(&path.tree, true);
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, krate)),
            UseTree::Rename(tree) => {
                let name = tree.rename.unraw().to_string();
                if krate && is(&tree.ident, "model") {
                    self.attributes.insert(name);
                } else if is(&tree.ident, if krate { "self" } else { "nomopoly" }) {
                    self.crates.insert(name);
                }
            }
            UseTree::Name(tree) if krate && is(&tree.ident, "model") => {
                self.attributes.insert("model".to_owned());
            }
            UseTree::Glob(_) if krate => {
                self.attributes.insert("model".to_owned());
            }
            _ => {}
        }
    }
}

impl<'ast> Visit<'ast> for Visitor {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let name = item.ident.unraw().to_string();
        if item.content.is_none() {
            self.follow(item, name);
            return;
        }
        let outer = (self.place.clone(), self.optional);
        self.place.enter_module(name, path_attributes(&item.attrs).1.as_deref());
        self.optional |= is_conditional(&item.attrs);
        visit::visit_item_mod(self, item);
        (self.place, self.optional) = outer;
    }

    fn visit_block(&mut self, block: &'ast Block) {
        let outer = self.place.clone();
        self.place.enter_block();
        visit::visit_block(self, block);
        self.place = outer;
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        for (meta, _) in metas(&item.attrs) {
            if let Meta::List(list) = meta
                && let Ok(path) = list.parse_args_with(arguments)
            {
                let mut segments: Vec<String> =
                    list.path.segments.iter().map(|s| s.ident.unraw().to_string()).collect();
                if list.path.leading_colon.is_some() && segments.len() == 1 {
                    // A crate, not what a `use` names.
                    segments.clear();
                }
                let line = path.span().start().line;
                let reference = Reference { path: path.value(), file: self.file.clone(), line };
                self.candidates.push((segments, reference));
            }
        }
        visit::visit_item_struct(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.import(&item.tree, false);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        if let Some((_, name)) = &item.rename
            && is(&item.ident, "nomopoly")
        {
            self.crates.insert(name.unraw().to_string());
        }
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        let included = item.mac.path.segments.last().is_some_and(|s| is(&s.ident, "include"));
        if included && let Ok(path) = item.mac.parse_body::<LitStr>() {
            let file = join(self.file.parent().unwrap_or(&self.file), &path.value());
            if file.is_file() {
                self.modules.push(Module::new(file, None, self.optional));
            }
        } else {
            self.visit_macro_of_items(&item.mac.tokens);
        }
    }

    fn visit_stmt_macro(&mut self, statement: &'ast syn::StmtMacro) {
        self.visit_macro_of_items(&statement.mac.tokens);
    }
}

/// The path of `"path", name = value, ...`.
fn arguments(input: ParseStream) -> syn::Result<LitStr> {
    let path: LitStr = input.parse()?;
    if !input.is_empty() {
        input.parse::<Token![,]>()?;
        Punctuated::<MetaNameValue, Token![,]>::parse_terminated(input)?;
    }
    Ok(path)
}

/// All attributes, those within `cfg_attr` too; the flag says that a condition applies.
fn metas(attributes: &[Attribute]) -> Vec<(Meta, bool)> {
    fn unfold(meta: &Meta, conditional: bool, into: &mut Vec<(Meta, bool)>) {
        match meta {
            Meta::List(list) if list.path.is_ident("cfg_attr") => {
                let tokens: Vec<TokenTree> = list.tokens.clone().into_iter().collect();
                let comma =
                    |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ',');
                // The first part is the condition; the others are attributes, each parsed alone
                // so that one that syn does not know hides no other.
                for part in tokens.split(comma).skip(1) {
                    if let Ok(meta) = syn::parse2(part.iter().cloned().collect()) {
                        unfold(&meta, true, into);
                    }
                }
            }
            _ => into.push((meta.clone(), conditional)),
        }
    }
    let mut all = vec![];
    attributes.iter().for_each(|attribute| unfold(&attribute.meta, false, &mut all));
    all
}

/// `#[path = "..."]`: those under conditions that come first, and the one without.
fn path_attributes(attributes: &[Attribute]) -> (Vec<String>, Option<String>) {
    let mut conditional_paths = vec![];
    for (meta, conditional) in metas(attributes) {
        if let Meta::NameValue(MetaNameValue { path, value, .. }) = meta
            && path.is_ident("path")
            && let Expr::Lit(ExprLit { lit: Lit::Str(value), .. }) = value
        {
            if !conditional {
                return (conditional_paths, Some(value.value()));
            }
            conditional_paths.push(value.value());
        }
    }
    (conditional_paths, None)
}

fn is_conditional(attributes: &[Attribute]) -> bool {
    metas(attributes).iter().any(|(meta, _)| meta.path().is_ident("cfg"))
}

fn is(ident: &Ident, name: &str) -> bool {
    ident.unraw() == name
}

/// Joins a path from a source file, where `/` separates on every system.
fn join(folder: &Path, path: &str) -> PathBuf {
    if cfg!(windows) { folder.join(path.replace('/', "\\")) } else { folder.join(path) }
}

#[cfg(test)]
#[path = "references_tests.rs"]
mod tests;
