//! Hosts that cheat are caught, each for what it did.

use clap::ValueEnum as _;
use nomopoly::Error;
use remote::client::Caught;
use remote::host::Cheat;

use crate::common::{client, host, images};

/// What a client says of a cheat when it has everything opened.
fn right(cheat: Cheat, caught: &Caught) -> bool {
    let text = caught.to_string();
    match (cheat, caught) {
        (
            Cheat::Int8Weights | Cheat::OtherWeights | Cheat::StaleWeights | Cheat::SkippedLayer,
            Caught::Wrong(Error::Rejected(report)),
        ) => {
            // What no longer follows from its input, not only what comes of it in the end.
            report.rejected().any(|op| op.operation == "fc1.out")
        }
        // The first operation that is revealed is not of this input.
        (Cheat::OldTranscript, Caught::Wrong(Error::Rejected(report))) => {
            report.rejected().any(|op| ["conv1.out", "fc1.out"].contains(&op.operation.as_str()))
        }
        (Cheat::EditedOutput, Caught::Wrong(Error::Rejected(report))) => {
            report.rejected().all(|op| op.operation == "logits")
        }
        (Cheat::StaleModel, Caught::Wrong(Error::OtherModel { .. })) => true,
        (Cheat::Replay, Caught::Wrong(Error::Opening(_))) => text.contains("inputs"),
        (Cheat::ReplayOutputs, Caught::Wrong(Error::Opening(_))) => text.contains("outputs"),
        (Cheat::Garbage | Cheat::Truncated, Caught::NoOpening(Error::Stored { .. })) => true,
        (Cheat::NoOpening, Caught::Broken { left, .. }) => {
            left.as_secs() > 500 && text.contains("expired_receipt")
        }
        _ => false,
    }
}

#[test]
fn every_cheat_is_caught_by_its_name() {
    let images = images(4);
    for cheat in Cheat::value_variants() {
        let host = host(|config| config.cheat = Some(*cheat));
        let mut client = client(&host.url());
        let summary = client.run(&images, false, |_, _| {}).unwrap();
        // Those that replay are honest until they have something to replay.
        let replays = matches!(cheat, Cheat::Replay | Cheat::ReplayOutputs | Cheat::OldTranscript);
        let caught: Vec<_> = summary.caught.iter().filter(|(call, _)| (call - 1) % 4 > 0).collect();
        let first = summary.caught.iter().any(|(call, _)| *call == 1);
        assert_eq!(first, !replays, "{cheat:?}: {summary}");
        assert_eq!(caught.len(), 15, "{cheat:?}: {summary}");
        for (call, caught) in &summary.caught {
            assert!(right(*cheat, caught), "{cheat:?}, call {call}: {caught:?}");
        }
        // Another key after each, but for receipts that no key was used on.
        let keys = if *cheat == Cheat::StaleModel { 0 } else { summary.caught.len() as u64 };
        assert_eq!(client.rotations(), keys, "{cheat:?}");
    }
}

#[test]
fn unchallenged_calls_show_nothing() {
    let host = host(|config| config.cheat = Some(Cheat::Int8Weights));
    let image = &images(1)[0];
    let mut client = client(&host.url());
    let answer = client.ask(image).unwrap();
    assert!(matches!(
        client.check(image, &answer).unwrap_err().caught(),
        Some(Caught::Wrong(Error::Rejected(_)))
    ));
}

#[test]
fn the_command_says_so_and_exits_with_one() {
    let host = crate::common::child(&["--cheat", "other-weights"]);
    let run = |extra: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_remote"))
            .args(["client", "--host", host.url(), "--strategy", "everything", "--count", "3"])
            .args(extra)
            .output()
            .unwrap()
    };
    let output = run(&["--each"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("call    1: refused: ") && text.contains("3 refused"), "{text}");
    // Without a challenge there is nothing to see, and the command says that nothing was checked.
    let output = run(&["--share", "0"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("0 checked"));
    host.stop().unwrap();
}
