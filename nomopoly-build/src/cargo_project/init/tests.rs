use std::process::Command;

use super::*;

const PACKAGE: &str = "[package]\nname = \"app\"\nedition = \"2024\"\n";
/// What is added after a package without tables.
const ADDED: &str = r#"
[dependencies]
nomopoly = "0.1.0"

[build-dependencies]
nomopoly-build = "0.1.0"
"#;
const ADDED_PROFILES: &str = r#"
# The build script compiles models: numeric loops, slow without optimisation.
[profile.dev.build-override]
opt-level = 3

# Cargo does not optimise build scripts in release builds either.
[profile.release.build-override]
opt-level = 3

# Running and checking a model are numeric loops too.
[profile.dev.package."*"]
opt-level = 3
"#;

/// A crate to set up.
struct Crate(tempfile::TempDir);

impl Crate {
    fn new(manifest: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/lib.rs"), "").unwrap();
        fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn plan(&self) -> Result<Plan, InitError> {
        let manifest = self.path("Cargo.toml");
        plan(&manifest, &manifest, &registry())
    }

    /// Sets the crate up. Cargo must accept the result without a warning, and a second run must
    /// find nothing to do.
    fn init(&self) -> (String, Vec<String>) {
        let plan = self.plan().unwrap();
        plan.apply().unwrap();
        self.check();
        let again = self.plan().unwrap();
        assert_eq!(again.changes(), []);
        assert!(again.files.is_empty());
        (self.read("Cargo.toml"), plan.notes)
    }

    fn check(&self) {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--no-deps", "--format-version=1", "--offline", "--manifest-path"])
            .arg(self.path("Cargo.toml"))
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{errors}");
        let metadata = String::from_utf8(output.stdout).unwrap();
        for name in [CRATE, BUILD_CRATE] {
            assert!(metadata.contains(&format!("\"name\":\"{name}\"")), "{metadata}");
        }
    }
}

fn registry() -> Source {
    Source::Registry { version: "0.1.0".to_owned() }
}

/// The manifest that a crate with `manifest` gets.
fn edited(manifest: &str) -> String {
    let (text, notes) = Crate::new(manifest).init();
    assert_eq!(notes, [""; 0]);
    text
}

#[test]
fn a_new_crate_gets_everything() {
    let new = Crate::new(PACKAGE);
    let plan = new.plan().unwrap();
    let (manifest, script) = (new.path("Cargo.toml"), new.path("build.rs"));
    let expected = [
        (&manifest, "added dependency nomopoly"),
        (&manifest, "added build-dependency nomopoly-build"),
        (&manifest, "set profile.dev.build-override.opt-level to 3"),
        (&manifest, "set profile.release.build-override.opt-level to 3"),
        (&manifest, "set profile.dev.package.\"*\".opt-level to 3"),
        (&script, "created the build script"),
    ];
    let expected: Vec<Change> =
        expected.map(|(file, what)| Change { file: file.clone(), what: what.to_owned() }).into();
    assert_eq!(plan.changes(), expected);
    assert_eq!(plan.notes(), [""; 0]);
    assert_eq!(new.read("Cargo.toml"), PACKAGE, "a plan writes nothing");
    assert!(!script.exists());

    let (text, _) = new.init();
    assert_eq!(text, [PACKAGE, ADDED, ADDED_PROFILES].concat());
    assert_eq!(new.read("build.rs"), BUILD_SCRIPT_TEXT);
    let left: Vec<_> = fs::read_dir(new.0.path()).unwrap().collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn a_checkout_is_named_by_path() {
    let new = Crate::new(PACKAGE);
    let source = Source::Path("/opt/it's here/nomopoly".into());
    plan(&new.path("Cargo.toml"), &new.path("Cargo.toml"), &source).unwrap().apply().unwrap();
    new.check();
    let text = new.read("Cargo.toml");
    let version = env!("CARGO_PKG_VERSION");
    let line =
        format!("nomopoly = {{ path = \"/opt/it's here/nomopoly\", version = \"{version}\" }}\n");
    assert!(text.contains(&line), "{text}");
    let build = format!(
        "nomopoly-build = {{ path = \"/opt/it's here/nomopoly/nomopoly-build\", version = \"{version}\" }}\n"
    );
    assert!(text.contains(&build) || cfg!(windows), "{text}");
}

#[test]
fn what_is_there_stays_as_it_is() {
    let before = r#"# A crate.
[package] # with comments
name    =   'app'
edition = "2024" # new

[dependencies]
# In order.
serde = { version = "1", features = [
    "derive", # for it
] }
tool = "1" # last

[profile.release]
lto = true # slow

[dev-dependencies]
tempfile = "3"
# criterion = "1"
"#;
    let expected = before.replace("# last\n", "# last\nnomopoly = \"0.1.0\"\n")
        + "\n[build-dependencies]\nnomopoly-build = \"0.1.0\"\n"
        + ADDED_PROFILES;
    assert_eq!(edited(before), expected);
}

#[test]
fn crlf_and_a_byte_order_mark_stay() {
    let before = PACKAGE.to_owned() + "# end";
    let expected = [PACKAGE, "# end\n", ADDED, ADDED_PROFILES].concat();
    let crlf = |text: &str| text.replace('\n', "\r\n");
    assert_eq!(edited(&before), expected);
    assert_eq!(edited(&crlf(&before)), crlf(&expected));
    assert_eq!(edited(&format!("\u{feff}{before}")), format!("\u{feff}{expected}"));
    let string = "description = \"\"\"\na\n\nb\"\"\"\n";
    let before = crlf(&(PACKAGE.to_owned() + string));
    assert_eq!(edited(&before), before.clone() + &crlf(&[ADDED, ADDED_PROFILES].concat()));
}

#[test]
fn ends_of_files_stay_readable() {
    let added = [ADDED, ADDED_PROFILES].concat();
    for (end, expected) in [
        ("", "\n"),
        ("\n", "\n"),
        ("\n\n", "\n\n"),
        ("\n\n\n", "\n\n\n"),
        ("\n# c", "\n# c\n\n"),
        ("\n# c\n", "\n# c\n\n"),
        ("\n\n# c\n\n", "\n\n# c\n\n"),
    ] {
        let text = edited(&format!("{}{end}", PACKAGE.trim_end()));
        let expected = format!("{}{expected}{}", PACKAGE.trim_end(), added.trim_start());
        // A final line end and one empty line at least.
        let expected = expected.replacen("\"2024\"\n[", "\"2024\"\n\n[", 1);
        assert_eq!(text, expected, "{end:?}");
    }
}

#[test]
fn every_form_of_a_dependency_counts() {
    for (dependency, build_dependency) in [
        ("[dependencies]\nnomopoly = '0'\n", "[build-dependencies]\nnomopoly-build = '0'\n"),
        (
            "[dependencies.nomopoly]\nversion = '0'\n",
            "[build-dependencies.nomopoly-build]\npath = 'b'\n",
        ),
        (
            "[dependencies]\nnomopoly.version = '0'\n",
            "[build-dependencies]\n'nomopoly-build'.path = 'b'\n",
        ),
        (
            "[dependencies]\nnomopoly = { version = '0', optional = true }\n",
            "[build-dependencies]\nnomopoly-build = { path = 'b', version = '0' }\n",
        ),
        (
            "[target.'cfg(unix)'.dependencies]\nnomopoly = '0'\n",
            "[target.'cfg(unix)'.build-dependencies]\nnomopoly-build = '0'\n",
        ),
        (
            "[workspace.dependencies]\nnomopoly = '0'\nnomopoly-build = '0'\n\
             [dependencies]\nnomopoly.workspace = true\n",
            "[build-dependencies.nomopoly-build]\nworkspace = true\n",
        ),
    ] {
        let before = [PACKAGE, dependency, build_dependency].concat();
        assert_eq!(edited(&before), before.clone() + ADDED_PROFILES);
    }
    let before = "dependencies = { nomopoly = '0' }
build-dependencies = { nomopoly-build = '0' }
package = { name = 'app', edition = '2024' }
";
    assert_eq!(edited(before), before.to_owned() + ADDED_PROFILES);
}

#[test]
fn tables_without_headers_are_extended_where_they_are() {
    let before = "dependencies = { serde = \"1\" }
build-dependencies = {}
profile = { dev = { opt-level = 1, package = { serde = { debug = false } } } }
package = { name = \"app\", edition = \"2024\" }
";
    let expected = "dependencies = { serde = \"1\", nomopoly = \"0.1.0\" }
build-dependencies = { nomopoly-build = \"0.1.0\" }
profile = { dev = { opt-level = 1, package = { serde = { debug = false }, \"*\" = { opt-level = 3 } }, build-override = { opt-level = 3 } }, release = { build-override = { opt-level = 3 } } }
package = { name = \"app\", edition = \"2024\" }
";
    assert_eq!(edited(before), expected);

    let before =
        "[package]\nname = 'app'\nedition = '2024'\n[profile]\ndev = {build-override={}}\n";
    let expected =
        "dev = {build-override={ opt-level = 3 }, package = { \"*\" = { opt-level = 3 } }}";
    assert!(edited(before).contains(expected), "{}", edited(before));

    let before = "package.name = \"app\"
package.edition = \"2024\"
dependencies.serde = \"1\"
profile.dev.package.serde.opt-level = 1
";
    let expected = "package.name = \"app\"
package.edition = \"2024\"
dependencies.serde = \"1\"
dependencies.nomopoly = \"0.1.0\"
profile.dev.package.serde.opt-level = 1
# Running and checking a model are numeric loops too.
profile.dev.package.\"*\" = { opt-level = 3 }
# The build script compiles models: numeric loops, slow without optimisation.
profile.dev.build-override = { opt-level = 3 }
# Cargo does not optimise build scripts in release builds either.
profile.release = { build-override = { opt-level = 3 } }

[build-dependencies]
nomopoly-build = \"0.1.0\"
";
    assert_eq!(edited(before), expected);
}

#[test]
fn subtables_get_the_table_above_them() {
    let before = PACKAGE.to_owned()
        + "
[dependencies.serde]
version = \"1\"

[build-dependencies]

[profile.dev]
package.serde.opt-level = 1
debug = false
";
    let expected = PACKAGE.to_owned()
        + "
[dependencies]
nomopoly = \"0.1.0\"

[dependencies.serde]
version = \"1\"

[build-dependencies]
nomopoly-build = \"0.1.0\"

[profile.dev]
package.serde.opt-level = 1
# Running and checking a model are numeric loops too.
package.\"*\" = { opt-level = 3 }
debug = false

# The build script compiles models: numeric loops, slow without optimisation.
[profile.dev.build-override]
opt-level = 3

# Cargo does not optimise build scripts in release builds either.
[profile.release.build-override]
opt-level = 3
";
    assert_eq!(edited(&before), expected);
}

#[test]
fn an_old_name_of_a_table_is_kept() {
    let before =
        "[package]\nname = \"app\"\nedition = \"2021\"\n[build_dependencies]\ncc = \"1\"\n";
    let new = Crate::new(before);
    new.plan().unwrap().apply().unwrap();
    let text = new.read("Cargo.toml");
    assert!(text.contains("cc = \"1\"\nnomopoly-build = \"0.1.0\"\n"), "{text}");
    assert_eq!(new.plan().unwrap().changes(), []);
}

#[test]
fn profiles_of_the_user_stay() {
    let profiles = "
[profile.dev.build-override]
opt-level = 1
[profile.release.build-override]
opt-level = \"s\"
[profile.dev.package.\"*\"]
debug = false
";
    let text = edited(&format!("{PACKAGE}{profiles}"));
    let last = "# Running and checking a model are numeric loops too.\nopt-level = 3\n";
    assert!(text.contains(&(profiles.to_owned() + last)), "{text}");
    assert_eq!(text.matches("opt-level").count(), 3);

    let slow = "[profile.dev]\nbuild-override = { opt-level = 0 }\npackage.'*'.opt-level = 0\n";
    let new = Crate::new(&format!("{PACKAGE}{slow}"));
    let (text, notes) = new.init();
    assert!(text.contains(slow), "{text}");
    let names = ["build-override", "package.\"*\""];
    assert_eq!(notes.len(), names.len());
    for (note, name) in notes.iter().zip(names) {
        assert!(note.contains(&format!("profile.dev.{name}.opt-level to 0: ")), "{note}");
        assert!(note.contains("Cargo.toml"), "{note}");
    }
    assert_eq!(new.plan().unwrap().notes(), notes, "notes stay until they are heeded");
}

#[test]
fn profiles_go_to_the_root_of_the_workspace() {
    let new = Crate::new("[workspace]\nmembers = [\"app\"]\nresolver = \"3\"\n");
    fs::create_dir_all(new.path("app/src")).unwrap();
    fs::write(new.path("app/src/lib.rs"), "").unwrap();
    fs::write(new.path("app/Cargo.toml"), PACKAGE).unwrap();
    let (root, member) = (new.path("Cargo.toml"), new.path("app/Cargo.toml"));
    let of_member = plan(&member, &root, &registry()).unwrap();
    let files: Vec<_> = of_member.changes().iter().map(|change| change.file.clone()).collect();
    let script = new.path("app/build.rs");
    assert_eq!(files, [&member, &member, &root, &root, &root, &script].map(Clone::clone));
    of_member.apply().unwrap();
    new.check();
    assert_eq!(new.read("app/Cargo.toml"), [PACKAGE, ADDED].concat());
    assert!(new.read("Cargo.toml").ends_with(&format!("resolver = \"3\"\n{ADDED_PROFILES}")));
    assert!(script.exists() && !new.path("build.rs").exists());
    assert_eq!(plan(&member, &root, &registry()).unwrap().changes(), []);

    let error = new.plan().unwrap_err();
    assert!(matches!(error, InitError::NoPackage { .. }));
    let message = error.to_string();
    assert!(message.contains("Cargo.toml` has no [package]"), "{message}");
    assert!(message.contains("name the member"), "{message}");
}

#[test]
fn one_file_named_in_two_ways_is_edited_once() {
    let new = Crate::new(PACKAGE);
    let other = new.path("src/../Cargo.toml");
    plan(&new.path("Cargo.toml"), &other, &registry()).unwrap().apply().unwrap();
    assert_eq!(new.read("Cargo.toml"), [PACKAGE, ADDED, ADDED_PROFILES].concat());
}

#[test]
fn a_build_script_of_the_user_stays() {
    for (setting, script, text, noted) in [
        ("", "build.rs", "fn main() {}\n", true),
        ("", "build.rs", "fn main() { nomopoly_build::compile(); }\n", false),
        ("build = true\n", "build.rs", "fn main() {}\n", true),
        ("build = \"make/it.rs\"\n", "make/it.rs", "fn main() {}\n", true),
        ("build = 'make/it.rs'\n", "make/it.rs", "use nomopoly_build as n;\n", false),
    ] {
        let new = Crate::new(&format!("{PACKAGE}{setting}"));
        fs::create_dir(new.path("make")).unwrap();
        fs::write(new.path(script), text).unwrap();
        let (_, notes) = new.init();
        assert_eq!(new.read(script), text);
        assert_eq!(new.path("build.rs").exists(), script == "build.rs");
        let expected = format!(
            "add the line `nomopoly_build::compile_referenced();` to `main` of `{}`",
            new.path(script).display()
        );
        assert_eq!(notes, if noted { vec![expected] } else { vec![] }, "{setting}{text}");
    }
}

#[test]
fn a_build_script_that_is_not_wanted_is_not_made() {
    let before = format!("{PACKAGE}build = false\n");
    let new = Crate::new(&before);
    let (text, notes) = new.init();
    assert!(text.starts_with(&before));
    assert!(!new.path("build.rs").exists());
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("Cargo.toml` says `build = false`"), "{notes:?}");
    assert!(notes[0].contains("remove that line"), "{notes:?}");
}

#[test]
fn mistakes_name_the_file_and_a_way_out() {
    for (manifest, expected) in [
        ("[package\nname = 1\n", ["is not valid TOML: line 1: ", "correct it"]),
        ("[package]\r\nname = 'a'\r\n\r\nname = 'b'\r\n", ["line 4: duplicate key", "correct it"]),
        ("[workspace]\n", ["has no [package]", "name the member"]),
        ("", ["has no [package]", "name the member"]),
        ("dependencies = 1\n[package]\n", ["`dependencies` in `", "type integer, expected table"]),
        ("profile.dev = []\n[package]\n", ["`profile.dev` in `", "type array, expected table"]),
        ("[package]\n[dependencies]\nn = { package = 'nomopoly' }\n", ["name `n`", "rename it"]),
    ] {
        let new = Crate::new(manifest);
        let message = new.plan().unwrap_err().to_string();
        for part in expected.into_iter().chain(["Cargo.toml`"]) {
            assert!(message.contains(part), "{manifest}: {message}");
        }
        assert_eq!(message.lines().count(), 1, "{message}");
        assert_eq!(new.read("Cargo.toml"), manifest);
    }
    let new = Crate::new("");
    fs::write(new.path("Cargo.toml"), b"[package]\n# \xe4\n").unwrap();
    let message = new.plan().unwrap_err().to_string();
    assert!(message.contains("line 2: not UTF-8"), "{message}");
    fs::remove_file(new.path("Cargo.toml")).unwrap();
    let message = new.plan().unwrap_err().to_string();
    assert!(message.starts_with("cannot read `") && message.contains("cargo new"), "{message}");
}

#[test]
fn files_that_have_changed_since_are_not_overwritten() {
    let new = Crate::new(PACKAGE);
    let plan = new.plan().unwrap();
    fs::write(new.path("build.rs"), "mine").unwrap();
    assert!(matches!(plan.apply(), Err(InitError::Changed { path }) if path.ends_with("build.rs")));
    assert_eq!(new.read("Cargo.toml"), PACKAGE);
    let plan = new.plan().unwrap();
    fs::write(new.path("Cargo.toml"), "mine").unwrap();
    assert!(
        matches!(plan.apply(), Err(InitError::Changed { path }) if path.ends_with("Cargo.toml"))
    );
    assert_eq!((new.read("Cargo.toml"), new.read("build.rs")), ("mine".into(), "mine".into()));
}

#[test]
fn a_read_only_manifest_is_left_alone() {
    let new = Crate::new(PACKAGE);
    let mut permissions = fs::metadata(new.path("Cargo.toml")).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(new.path("Cargo.toml"), permissions).unwrap();
    let error = new.plan().unwrap().apply().unwrap_err();
    assert!(matches!(error, InitError::ReadOnly { .. }));
    assert!(error.to_string().contains("Cargo.toml` is read-only; make it writable"), "{error}");
    assert_eq!(new.read("Cargo.toml"), PACKAGE);
    assert!(!new.path("build.rs").exists());
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_read_only_folder_is_an_error_and_nothing_is_written() {
        let new = Crate::new(PACKAGE);
        let writable = |mode| {
            fs::set_permissions(new.0.path(), fs::Permissions::from_mode(mode)).unwrap();
        };
        writable(0o555);
        if fs::write(new.path("probe"), "").is_ok() {
            return; // The superuser may write anywhere.
        }
        let error = new.plan().unwrap().apply().unwrap_err();
        writable(0o755);
        assert!(error.to_string().starts_with("cannot write `"), "{error}");
        assert!(error.to_string().contains("Cargo.toml`: "), "{error}");
        assert!(error.to_string().ends_with("make the file and its folder writable for you"));
        assert_eq!(new.read("Cargo.toml"), PACKAGE);
        assert_eq!(fs::read_dir(new.0.path()).unwrap().count(), 2);
    }

    #[test]
    fn permissions_and_links_stay() {
        let new = Crate::new(PACKAGE);
        fs::rename(new.path("Cargo.toml"), new.path("src/real.toml")).unwrap();
        symlink("src/real.toml", new.path("Cargo.toml")).unwrap();
        let mode = |name| fs::metadata(new.path(name)).unwrap().permissions().mode() & 0o777;
        fs::set_permissions(new.path("Cargo.toml"), fs::Permissions::from_mode(0o640)).unwrap();
        new.init();
        assert!(fs::symlink_metadata(new.path("Cargo.toml")).unwrap().is_symlink());
        assert_eq!(mode("src/real.toml"), 0o640);
        assert_eq!(mode("build.rs"), mode("src/lib.rs"), "the mask of the user applies");
    }
}
