//! Tables for people.

use super::out;

/// Lines up the cells of rows, the first row being the heads.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let mut widths: Vec<usize> = heads.iter().map(|head| head.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let laid = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = laid(&mut heads.iter().copied());
    let rows = rows.iter().map(|row| laid(&mut row.iter().map(String::as_str)));
    std::iter::once(head).chain(rows).collect()
}

/// Prints a table.
pub(super) fn print(heads: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    table(heads, rows).iter().try_for_each(|line| out::line(line))
}

/// How long something took or lasts, in about three digits.
pub(super) fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} days", ms / 86_400_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_below_their_heads() {
        let rows =
            [vec!["eu".to_owned(), "up".to_owned()], vec!["asia".to_owned(), "-".to_owned()]];
        assert_eq!(table(&["of", "state"], &rows), ["of    state", "eu    up", "asia  -"]);
    }

    #[test]
    fn durations_have_the_unit_that_fits() {
        let said = [7, 1_500, 600_000, 7_200_000, 400_000_000].map(duration);
        assert_eq!(said, ["7 ms", "1.5 s", "10 min", "2 h", "4 days"]);
    }
}
