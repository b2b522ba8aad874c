//! What the command shows by itself.

use clap::ValueEnum as _;
use remote::host::Cheat;

#[test]
fn the_story_is_told() {
    let command = std::process::Command::new(env!("CARGO_BIN_EXE_remote"))
        // Its hosts serve nobody else: what the environment says is not for them.
        .env("REMOTE_TOKEN", "of another host")
        .output()
        .unwrap();
    let text = String::from_utf8(command.stdout).unwrap();
    assert!(command.status.success(), "{text}\n{}", String::from_utf8_lossy(&command.stderr));
    for cheat in Cheat::value_variants() {
        let name = cheat.to_possible_value().unwrap().get_name().to_owned();
        assert!(text.lines().any(|line| line.trim_start().starts_with(&name)), "{name}\n{text}");
    }
    for line in ["everything", "20 receipts survive; 20 were opened", "0 receipts survive;  0 were"]
    {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    assert!(text.lines().count() < 70, "{text}");
}
