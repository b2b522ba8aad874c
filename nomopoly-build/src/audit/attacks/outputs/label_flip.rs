//! The smallest change that makes another element the largest: for a classifier's last operation,
//! another answer at the least ‖Δy‖. In the Euclidean norm that is meeting in the middle (the
//! closed form of a linear decision boundary: Moosavi-Dezfooli, Fawzi, Frossard, DeepFool, CVPR 2016).

use nomopoly_manifest::{Attacker, Family};

use crate::audit::attacks::Forgery;

pub const ATTACK: Forgery = Forgery {
    name: "label-flip",
    family: Family::Outputs,
    attacker: Attacker::Host,
    setting: "largest and second largest element change places, least change",
    forge: |scene, _| {
        let mut rows = scene.rows()?;
        if rows.first().is_none_or(|row| row.len() < 2) {
            return Ok(None);
        }
        for row in &mut rows {
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
            let (first, second) = (order[0], order[1]);
            let middle = row[first] + (row[second] - row[first]) / 2.;
            // The smallest steps across.
            row[first] = middle.next_down();
            row[second] = middle.next_up();
        }
        Ok(Some(scene.claim(scene.outputs(rows)?)?))
    },
};
