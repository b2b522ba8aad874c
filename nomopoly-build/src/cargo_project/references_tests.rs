use std::collections::BTreeSet;
use std::process::Command;

use super::*;

/// A folder with these files.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn search_tree(files: &[(&str, &str)], roots: &[&str]) -> (tempfile::TempDir, References) {
    let folder = tree(files);
    let roots: Vec<PathBuf> = roots.iter().map(|root| folder.path().join(root)).collect();
    let found = find(&roots);
    (folder, found)
}

/// Models of a crate of one file.
fn models(text: &str) -> Vec<String> {
    let (_folder, found) = search_tree(&[("lib.rs", text)], &["lib.rs"]);
    assert_eq!(found.notes, [""; 0], "{text}");
    found.models.into_iter().map(|model| model.path).collect()
}

/// `name` as a model that the file `name` uses.
fn uses(name: &str) -> String {
    format!("#[nomopoly::model({name:?})] pub struct M;\n")
}

fn relative(folder: &tempfile::TempDir, paths: &[PathBuf]) -> Vec<String> {
    let name = |path: &PathBuf| path.strip_prefix(folder.path()).unwrap().display().to_string();
    paths.iter().map(name).collect()
}

#[test]
fn every_name_of_the_attribute_counts() {
    for text in [
        "#[nomopoly::model(\"m\")] struct A;",
        "#[::nomopoly::model(\"m\")] struct A;",
        "#[nomopoly :: r#model [\"m\"]] pub(crate) struct A;",
        "use nomopoly::model; #[model(\"m\")] struct A;",
        "#[model(\"m\")] struct A; use ::nomopoly::model;",
        "use nomopoly::{Prover, model as network}; #[network(\"m\")] struct A;",
        "use {std::fs, nomopoly::{self as n, *}}; #[model(\"m\")] struct A;",
        "use nomopoly::{self as n}; #[n::model(\"m\")] struct A;",
        "use nomopoly as n; #[n::model(\"m\")] struct A;",
        "extern crate nomopoly as n; #[n::model(\"m\")] struct A;",
        "fn f() { use nomopoly::*; #[model(\"m\")] struct A; }",
    ] {
        assert_eq!(models(text), ["m"], "{text}");
    }
}

#[test]
fn other_attributes_do_not_count() {
    for text in [
        "#[model(\"m\")] struct A;",
        "use other::model; #[model(\"m\")] struct A;",
        "use other::nomopoly::model; #[model(\"m\")] struct A;",
        "use nomopoly::model as network; #[model(\"m\")] struct A;",
        "use nomopoly::model; #[::model(\"m\")] struct A;",
        "#[other::model(\"m\")] struct A;",
        "#[nomopoly::other(\"m\")] struct A;",
        "#[nomopoly::model::other(\"m\")] struct A;",
        "/// #[nomopoly::model(\"m\")]\nstruct A; // #[nomopoly::model(\"m\")]",
        "const A: &str = \"#[nomopoly::model(\\\"m\\\")] struct A;\";",
    ] {
        assert_eq!(models(text), [""; 0], "{text}");
    }
}

#[test]
fn arguments_after_the_path_are_allowed() {
    let text = "#[nomopoly::model(\"a\", embed = false, device = \"cpu\")] struct A;
                #[nomopoly::model(\"b\",)] struct B;
                #[nomopoly::model(\"c\", embed = false,)] struct C;";
    assert_eq!(models(text), ["a", "b", "c"]);
}

#[test]
fn malformed_arguments_are_left_to_the_macro() {
    for arguments in [
        "",
        "()",
        " = \"m\"",
        "(m)",
        "(path = \"m\")",
        "(b\"m\")",
        "(c\"m\")",
        "(concat!(\"a\", \"b\"))",
        "(\"a\" \"b\")",
        "(\"a\", \"b\")",
        "(\"a\", embed)",
        "(embed = false, \"a\")",
    ] {
        let text = format!("#[nomopoly::model{arguments}] struct A;");
        assert_eq!(models(&text), [""; 0], "{text}");
    }
    assert_eq!(models("#[nomopoly::model(\"m\")] enum A {}"), [""; 0]);
}

#[test]
fn paths_are_read_as_rust_reads_strings() {
    let text = r####"
        #[nomopoly::model(r"a\b.onnx")] struct A;
        #[nomopoly::model(r##"a"#b"##)] struct B;
        #[nomopoly::model("\u{e4}\x41\t\\\"")] struct C;
        #[nomopoly::model("one \
                           line")] struct D;
        #[nomopoly::model("数字/ä.onnx")] struct E;"####;
    assert_eq!(models(text), [r"a\b.onnx", "a\"#b", "äA\t\\\"", "one line", "数字/ä.onnx"]);
}

#[test]
fn structs_at_any_depth_count_and_conditions_do_not() {
    let text = "
        #[cfg(any())] #[nomopoly::model(\"1\")] struct A;
        #[cfg_attr(all(x, not(y)), derive(Debug), nomopoly::model(\"2\", embed = false))] struct B;
        #[cfg_attr(x, cfg_attr(y, ::nomopoly::model(\"3\"),))] struct C;
        mod outer { mod inner { #[nomopoly::model(\"4\")] struct D; } }
        impl T { fn f() { { loop { #[nomopoly::model(\"5\")] struct E; } } } }
        const G: () = { #[nomopoly::model(\"6\")] struct F; };
        fn g() { let _ = || match 1 { _ => { #[nomopoly::model(\"7\")] struct H; } }; }
        struct I([u8; { #[nomopoly::model(\"8\")] struct J; 1 }]);
        #[nomopoly::model(\"9\")] #[nomopoly::model(\"9\")] struct K;
        cfg_if::cfg_if! { if #[cfg(x)] { #[nomopoly::model(\"10\")] struct L; } else { } }
        wrap! { #[nomopoly::model(\"11\")] struct M; }
        fn h() { wrap! { if x { let y = 1; #[nomopoly::model(\"12\")] struct O; y } } }
        macro_rules! m { ($p:literal) => { #[nomopoly::model($p)] struct N; }; }";
    let expected = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "9", "10", "11", "12"];
    assert_eq!(models(text), expected);
}

#[test]
fn lines_count_from_one_in_every_kind_of_file() {
    for (text, line) in [
        ("#[nomopoly::model(\"m\")] struct A;", 1),
        ("\n\n#[nomopoly::model(\"m\")]\nstruct A;", 3),
        ("\r\n\r\n#[nomopoly::model(\"m\")]\r\nstruct A;", 3),
        ("\u{feff}//\n#[nomopoly::model(\"m\")] struct A;", 2),
        ("#!/usr/bin/env x\n#[nomopoly::model(\"m\")] struct A;", 2),
        ("#![allow(unused)]\n#[cfg_attr(\n    x,\n    nomopoly::model(\"m\")\n)]\nstruct A;", 4),
        ("wrap! {\n#[nomopoly::model(\"m\")] struct A; }", 2),
    ] {
        let (folder, found) = search_tree(&[("lib.rs", text)], &["lib.rs"]);
        let file = folder.path().join("lib.rs");
        assert_eq!(found.models, [Reference { path: "m".to_owned(), file, line }], "{text:?}");
    }
}

#[test]
fn every_root_is_read_once_in_order() {
    let files = [
        ("src/lib.rs", "mod shared;"),
        ("src/main.rs", "mod shared; #[nomopoly::model(\"main\")] struct A;"),
        ("src/shared.rs", "#[nomopoly::model(\"shared\")] struct A;"),
        ("src/bin/tool.rs", "mod tools; mod extra;"),
        ("src/bin/extra.rs", "#[nomopoly::model(\"extra\")] struct A;"),
        ("src/bin/tools/mod.rs", "#[path = \"../../shared.rs\"] mod again;"),
    ];
    let roots = ["src/lib.rs", "src/main.rs", "src/bin/tool.rs", "src/lib.rs"];
    let (folder, found) = search_tree(&files, &roots);
    assert_eq!(found.notes, [""; 0]);
    let sources = ["src/lib.rs", "src/shared.rs", "src/main.rs", "src/bin/tool.rs"];
    assert_eq!(relative(&folder, &found.sources)[..4], sources);
    assert_eq!(
        relative(&folder, &found.sources)[4..],
        ["src/bin/tools/mod.rs", "src/bin/extra.rs"]
    );
    let models: Vec<_> = found.models.iter().map(|model| model.path.as_str()).collect();
    assert_eq!(models, ["shared", "main", "extra"]);
}

/// rustc itself is the reference for where modules lie.
#[test]
fn the_files_are_those_that_rustc_reads() {
    let library = "
        mod plain; mod folder; mod r#type;
        #[path = \"elsewhere/file.rs\"] mod renamed;
        mod inline { mod child; #[path = \"p.rs\"] mod q; mod deeper { mod leaf; } }
        #[path = \"thread\"] mod redirected { #[path = \"tls.rs\"] mod data; mod side; }
        fn block() {
            #[path = \"in_block.rs\"] mod a;
            mod b { #[path = \"c.rs\"] mod c; }
            #[path = \"block_folder\"] mod d { mod e; }
        }
        #[cfg_attr(all(), path = \"chosen.rs\")] mod by_condition;
        include!(\"included/items.rs\");
    ";
    let plain = "
        mod leaf; mod inline { mod leaf; #[path = \"by_path.rs\"] mod other; }
        #[path = \"beside.rs\"] mod beside;
        #[path = \"odd\"] mod odd { mod leaf; }
        fn block() { #[path = \"plain_block.rs\"] mod a; mod f { #[path = \"g.rs\"] mod g; } }
    ";
    let files = [
        ("lib.rs", library),
        ("plain.rs", plain),
        ("plain/leaf.rs", "mod further;"),
        ("plain/leaf/further.rs", ""),
        ("plain/inline/leaf.rs", ""),
        ("plain/inline/by_path.rs", ""),
        ("beside.rs", "mod under;"),
        ("under.rs", ""),
        ("odd/leaf.rs", ""),
        ("plain_block.rs", ""),
        ("b/c.rs", ""),
        ("f/g.rs", ""),
        ("folder/mod.rs", "mod child; mod inline { mod leaf; }"),
        ("folder/child.rs", "mod leaf;"),
        ("folder/child/leaf.rs", ""),
        ("folder/inline/leaf.rs", ""),
        ("type.rs", ""),
        ("elsewhere/file.rs", "mod sibling; #[path = \"../up.rs\"] mod up;"),
        ("elsewhere/sibling.rs", "mod leaf;"),
        ("elsewhere/sibling/leaf.rs", ""),
        ("up.rs", ""),
        ("inline/child.rs", "mod leaf;"),
        ("inline/child/leaf.rs", ""),
        ("inline/p.rs", ""),
        ("inline/deeper/leaf/mod.rs", ""),
        ("thread/tls.rs", ""),
        ("thread/side.rs", ""),
        ("in_block.rs", "mod within;"),
        ("within.rs", ""),
        ("block_folder/e.rs", ""),
        ("chosen.rs", ""),
        ("included/items.rs", "mod near;"),
        ("included/near.rs", ""),
        // Never read: each lies where a wrong rule would look.
        ("plain/beside.rs", ""),
        ("plain/odd/leaf.rs", ""),
        ("plain/under.rs", ""),
        ("near.rs", ""),
        ("leaf.rs", ""),
        ("renamed/sibling.rs", ""),
        ("redirected/side.rs", ""),
    ];
    let (folder, found) = search_tree(&files, &["lib.rs"]);
    assert_eq!(found.notes, [""; 0]);
    let ours: BTreeSet<String> = relative(&folder, &found.sources).into_iter().collect();

    let list = folder.path().join("list.d");
    let mut argument = std::ffi::OsString::from("--emit=dep-info=");
    argument.push(&list);
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--edition=2024", "--crate-type=lib", "lib.rs"])
        .arg(argument)
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(list).unwrap();
    let (_, dependencies) = text.lines().next().unwrap().split_once("list.d: ").unwrap();
    let normal = |path: &str| folder.path().join(path).canonicalize().unwrap();
    let theirs: BTreeSet<PathBuf> = dependencies.split_whitespace().map(normal).collect();
    assert_eq!(ours.iter().map(|path| normal(path)).collect::<BTreeSet<_>>(), theirs);
    assert_eq!(theirs.len(), 33);
}

#[test]
fn files_under_conditions_are_followed_if_they_are_there() {
    let library = "
        #[cfg(windows)] mod absent;
        #[cfg(windows)] mod inline { mod absent; }
        #[cfg(any())] mod present; mod gated;
        #[cfg_attr(unix, path = \"unix.rs\")] #[cfg_attr(windows, path = \"w.rs\")] mod system;
        #[cfg_attr(unix, path = \"nowhere.rs\")] mod neither;
        cfg_if! { if #[cfg(unix)] { mod chosen; mod absent; } else { mod absent; } }
        cfg_thing!({ mod in_braces; });
        feature! { #![all(a, b)] mod featured; pub use featured::*; }
        fn f() { #[cfg(any())] mod absent; }
    ";
    let present = uses("present.rs") + "mod absent;";
    let files = [
        ("lib.rs", library.to_owned()),
        ("present.rs", present),
        ("gated.rs", "#![cfg(any())] mod absent;".to_owned()),
        ("unix.rs", uses("unix.rs")),
        ("w.rs", uses("w.rs")),
        ("system.rs", uses("system.rs")),
        ("chosen.rs", uses("chosen.rs")),
        ("in_braces.rs", uses("in_braces.rs")),
        ("featured.rs", uses("featured.rs")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, &text[..])).collect();
    let (_folder, found) = search_tree(&files, &["lib.rs"]);
    assert_eq!(found.notes, [""; 0]);
    let models: Vec<_> = found.models.iter().map(|model| model.path.as_str()).collect();
    assert_eq!(
        models,
        ["present.rs", "unix.rs", "w.rs", "system.rs", "chosen.rs", "in_braces.rs", "featured.rs"]
    );
}

#[test]
fn what_cannot_be_read_is_noted_and_the_rest_is_searched() {
    let library = "mod broken;\nmod latin;\n\nmod absent; mod huge; mod good;";
    let folder = tree(&[("lib.rs", library), ("broken.rs", "\nstruct {"), ("good.rs", &uses("g"))]);
    let at = |name: &str| folder.path().join(name);
    fs::write(at("latin.rs"), b"// \xe4").unwrap();
    fs::File::create(at("huge.rs")).unwrap().set_len(MAX_BYTES + 1).unwrap();
    let found = find(&[at("lib.rs"), at("gone.rs"), folder.path().to_owned()]);
    let expected = [
        "no file for `mod absent;` in `lib.rs`, line 4".to_owned(),
        "cannot parse `broken.rs`: line 2: ".to_owned(),
        "cannot read `latin.rs`: not UTF-8".to_owned(),
        "`huge.rs` has 16777217 bytes: models are searched for in files up to 16777216".to_owned(),
        "cannot read `gone.rs`: ".to_owned(),
        format!("cannot read `{}`: not a file", folder.path().display()),
    ];
    let prefix = format!("{}{}", folder.path().display(), std::path::MAIN_SEPARATOR);
    let notes: Vec<String> = found.notes.iter().map(|note| note.replace(&prefix, "")).collect();
    assert_eq!(notes.len(), expected.len(), "{notes:#?}");
    for (note, expected) in notes.iter().zip(&expected) {
        assert!(note.starts_with(expected), "{note}");
    }
    assert_eq!(found.models.len(), 1);
    let sources = ["lib.rs", "broken.rs", "latin.rs", "huge.rs", "good.rs"];
    assert_eq!(relative(&folder, &found.sources), sources);
}

#[test]
fn cycles_end() {
    let files = [
        ("src/lib.rs", "mod a; #[path = \"../src/lib.rs\"] mod lib;"),
        ("src/a.rs", "#[path = \"../src/a.rs\"] mod a; #[path = \"b.rs\"] mod b;"),
        ("src/b.rs", "#[path = \"../src/../src/a.rs\"] mod a; #[nomopoly::model(\"m\")] struct M;"),
    ];
    let (folder, found) = search_tree(&files, &["src/lib.rs"]);
    assert_eq!(found.notes, [""; 0]);
    assert_eq!(relative(&folder, &found.sources), ["src/lib.rs", "src/a.rs", "src/../src/b.rs"]);
    assert_eq!(found.models.len(), 1);
}

#[cfg(unix)]
#[test]
fn cycles_through_links_end() {
    let folder = tree(&[("lib.rs", "mod deeper;"), ("deeper/mod.rs", "mod deeper;")]);
    std::os::unix::fs::symlink(".", folder.path().join("deeper/deeper")).unwrap();
    let found = find(&[folder.path().join("lib.rs")]);
    assert_eq!(relative(&folder, &found.sources), ["lib.rs", "deeper/mod.rs"]);
}

#[test]
fn one_file_in_two_places_has_the_modules_of_both() {
    let files = [
        ("lib.rs", "mod a; #[path = \"a.rs\"] mod b;"),
        ("a.rs", "mod child; #[nomopoly::model(\"m\")] struct M;"),
        ("a/child.rs", ""),
        ("child.rs", ""),
    ];
    let (folder, found) = search_tree(&files, &["lib.rs"]);
    assert_eq!(relative(&folder, &found.sources), ["lib.rs", "a.rs", "a/child.rs", "child.rs"]);
    assert_eq!(found.models.len(), 1);
}

#[test]
fn deep_expressions_do_not_overflow_the_stack() {
    let sum = format!("{} const A: u64 = {}1;", uses("m"), "1 + ".repeat(5_000));
    assert_eq!(models(&sum), ["m"]);
    let nested = format!("{} const A: u64 = {}1{};", uses("m"), "(".repeat(500), ")".repeat(500));
    assert_eq!(models(&nested), ["m"]);
}

#[test]
fn a_relative_root_is_found() {
    let root = Path::new("src/cargo_project/references.rs");
    assert!(root.is_file(), "tests run in the folder of Cargo.toml");
    let found = find(&[root.to_owned()]);
    let test = root.with_file_name("references_tests.rs");
    assert_eq!(found.sources, [root.to_owned(), test]);
}
