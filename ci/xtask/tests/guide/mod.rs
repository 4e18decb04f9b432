//! A document that is followed literally: its files are written, its commands are run.

/// A fenced block that says what to do.
pub enum Step {
    /// ` ```sh `: a command a line.
    Run(Vec<String>),
    /// ` ```rust path/of/the/file.rs `: the file's content.
    Write { path: String, content: String },
}

/// The steps of a Markdown document, in order. Blocks that are neither are for reading only.
pub fn steps(document: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if info == "sh" {
            steps.push(Step::Run(block.iter().map(|line| (*line).to_owned()).collect()));
        } else if let Some((_, path)) = info.split_once(' ') {
            steps.push(Step::Write { path: path.to_owned(), content: block.join("\n") + "\n" });
        }
    }
    steps
}
