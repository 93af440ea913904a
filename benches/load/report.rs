//! What a measurement found: a table to read, and the same as JSON for programs.

use std::path::Path;

use serde_json::{Map, Value, json};

/// A table whose rows are named.
pub struct Report {
    name: &'static str,
    columns: Vec<&'static str>,
    rows: Vec<(String, Vec<Option<f64>>)>,
    notes: Vec<String>,
}

impl Report {
    /// A table with these columns.
    pub fn new(name: &'static str, columns: &[&'static str]) -> Self {
        Self { name, columns: columns.to_vec(), rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, name: &str, values: &[Option<f64>]) {
        self.rows.push((name.to_owned(), values.to_vec()));
    }

    /// Adds a line below the table.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Prints the table and writes it as JSON.
    pub fn finish(&self, folder: &Path) -> anyhow::Result<()> {
        let first = self.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let heads: Vec<_> = self.columns.iter().map(|column| format!("  {column:>12}")).collect();
        println!("\n{:first$}{}", "", heads.concat());
        for (name, values) in &self.rows {
            let shown = |value: &Option<f64>| value.map(shown).unwrap_or_default();
            let cells: Vec<_> = values.iter().map(|it| format!("  {:>12}", shown(it))).collect();
            println!("{name:first$}{}", cells.concat());
        }
        for note in &self.notes {
            println!("{note}");
        }
        let path = folder.join(format!("{}.json", self.name));
        std::fs::write(&path, serde_json::to_string_pretty(&self.json())? + "\n")?;
        println!("\nwritten to {}", path.display());
        Ok(())
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(name, values)| {
            let named = self.columns.iter().zip(values);
            let cells: Map<_, _> =
                named.map(|(column, value)| ((*column).to_owned(), json!(value))).collect();
            (name.clone(), Value::Object(cells))
        });
        let rows: Map<_, _> = rows.collect();
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get);
        json!({ "measurement": self.name, "cores": cores, "rows": rows, "notes": self.notes })
    }
}

/// Three digits or the whole part, whichever is more.
fn shown(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The value in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
