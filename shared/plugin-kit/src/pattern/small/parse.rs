//! From a pattern to a tree.

/// How deep groups may nest, and repetitions of one item.
const MAX_DEPTH: usize = 64;
/// How often `{n,m}` may repeat.
const MAX_REPEAT: u32 = 1000;

/// A regular expression.
#[derive(Clone, Debug)]
pub enum Tree {
    Empty,
    /// One byte of a set.
    Set(Set),
    Assert(Assertion),
    /// A group that captures, by its number.
    Group(usize, Box<Tree>),
    Concat(Vec<Tree>),
    Alternate(Vec<Tree>),
    Repeat {
        inner: Box<Tree>,
        min: u32,
        max: Option<u32>,
        greedy: bool,
    },
}

/// A place between two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assertion {
    TextStart,
    TextEnd,
    LineStart,
    LineEnd,
    WordBoundary,
    NoWordBoundary,
}

/// A set of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Set([u32; 8]);

impl Set {
    pub fn contains(self, byte: u8) -> bool {
        self.0.get(usize::from(byte >> 5)).is_some_and(|part| part >> (byte & 31) & 1 == 1)
    }

    fn add(&mut self, byte: u8) {
        if let Some(part) = self.0.get_mut(usize::from(byte >> 5)) {
            *part |= 1 << (byte & 31);
        }
    }

    #[inline(never)]
    fn range(from: u8, to: u8) -> Self {
        let mut set = Self::default();
        (from..=to).for_each(|byte| set.add(byte));
        set
    }

    #[inline(never)]
    fn of(bytes: &[u8]) -> Self {
        let mut set = Self::default();
        bytes.iter().for_each(|byte| set.add(*byte));
        set
    }

    /// Every byte that is as wanted.
    #[inline(never)]
    fn all(wanted: fn(&u8) -> bool) -> Self {
        let mut set = Self::default();
        (0..=u8::MAX).filter(wanted).for_each(|byte| set.add(byte));
        set
    }

    fn or(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(part, other)| *part |= other);
        self
    }

    fn not(self) -> Self {
        Self(self.0.map(|part| !part))
    }

    /// With the other case of every letter.
    #[inline(never)]
    fn fold(self) -> Self {
        let mut folded = self;
        for byte in 0..=u8::MAX {
            if byte.is_ascii_alphabetic() && self.contains(byte) {
                folded.add(byte ^ 0x20);
            }
        }
        folded
    }

    fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// The classes `\d`, `\w`, `\s` and those of POSIX.
fn class(name: &[u8]) -> Option<Set> {
    let of = Set::all;
    Some(match name {
        b"d" | b"digit" => Set::range(b'0', b'9'),
        b"w" | b"word" => of(|byte| is_word(*byte)),
        b"s" | b"space" => Set::of(b" \t\n\r\x0b\x0c"),
        b"alnum" => of(u8::is_ascii_alphanumeric),
        b"alpha" => of(u8::is_ascii_alphabetic),
        b"ascii" => of(u8::is_ascii),
        b"blank" => Set::of(b" \t"),
        b"cntrl" => of(u8::is_ascii_control),
        b"graph" => of(u8::is_ascii_graphic),
        b"lower" => of(u8::is_ascii_lowercase),
        b"print" => Set::range(b' ', b'~'),
        b"punct" => of(u8::is_ascii_punctuation),
        b"upper" => of(u8::is_ascii_uppercase),
        b"xdigit" => of(u8::is_ascii_hexdigit),
        _ => return None,
    })
}

pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[derive(Clone, Copy, Default)]
struct Flags {
    ignore_case: bool,
    multi_line: bool,
    dot_matches_newline: bool,
    swap_greed: bool,
}

struct Parser<'a> {
    rest: &'a [u8],
    flags: Flags,
    names: Vec<Option<String>>,
    depth: usize,
}

/// The tree, and the names of the groups.
pub fn parse(pattern: &str, ignore_case: bool) -> Result<(Tree, Vec<Option<String>>), &'static str> {
    let flags = Flags { ignore_case, ..Flags::default() };
    let mut parser = Parser { rest: pattern.as_bytes(), flags, names: vec![None], depth: 0 };
    let tree = parser.alternation()?;
    match parser.rest {
        [] => Ok((Tree::Group(0, Box::new(tree)), parser.names)),
        _ => Err("unopened group"),
    }
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn eat(&mut self, text: &[u8]) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// What stands before `end`, which is passed over.
    fn until(&mut self, end: u8) -> Option<&'a [u8]> {
        let at = self.rest.iter().position(|byte| *byte == end)?;
        let (before, rest) = self.rest.split_at_checked(at)?;
        self.rest = rest.get(1..)?;
        Some(before)
    }

    /// Up to the end or a `)`.
    fn alternation(&mut self) -> Result<Tree, &'static str> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return Err("nested too deep");
        }
        let mut branches = vec![self.concatenation()?];
        while self.eat(b"|") {
            branches.push(self.concatenation()?);
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(if branches.len() > 1 { Tree::Alternate(branches) } else { branches.pop().unwrap_or(Tree::Empty) })
    }

    fn concatenation(&mut self) -> Result<Tree, &'static str> {
        let mut items: Vec<Tree> = Vec::new();
        while !matches!(self.rest.first(), None | Some(b'|' | b')')) {
            let Some(item) = self.item()? else { continue };
            items.push(item);
            self.repetitions(&mut items)?;
        }
        Ok(Tree::Concat(items))
    }

    /// The operators after the last item.
    fn repetitions(&mut self, items: &mut Vec<Tree>) -> Result<(), &'static str> {
        for _ in 0..MAX_DEPTH {
            let (min, max) = match self.rest.first() {
                Some(b'*') => (0, None),
                Some(b'+') => (1, None),
                Some(b'?') => (0, Some(1)),
                Some(b'{') => {
                    self.next();
                    let counts = self.until(b'}').ok_or("unclosed counted repetition")?;
                    let bounds = counts_of(counts).ok_or("invalid counted repetition")?;
                    self.repeat(items, bounds);
                    continue;
                }
                _ => return Ok(()),
            };
            self.next();
            self.repeat(items, (min, max));
        }
        Err("nested too deep")
    }

    fn repeat(&mut self, items: &mut Vec<Tree>, (min, max): (u32, Option<u32>)) {
        let greedy = self.eat(b"?") == self.flags.swap_greed;
        if let Some(inner) = items.pop() {
            items.push(Tree::Repeat { inner: Box::new(inner), min, max, greedy });
        }
    }

    /// One item; `None` where there was only a change of flags.
    fn item(&mut self) -> Result<Option<Tree>, &'static str> {
        let Flags { multi_line, dot_matches_newline, .. } = self.flags;
        Ok(Some(match self.next() {
            Some(b'(') => return self.group(),
            Some(b'[') => self.bracket().map(Tree::Set)?,
            Some(b'.') if dot_matches_newline => Tree::Set(Set::default().not()),
            Some(b'.') => Tree::Set(Set::of(b"\n").not()),
            Some(b'^') => Tree::Assert(if multi_line { Assertion::LineStart } else { Assertion::TextStart }),
            Some(b'$') => Tree::Assert(if multi_line { Assertion::LineEnd } else { Assertion::TextEnd }),
            Some(b'*' | b'+' | b'?' | b'{') => return Err("repetition operator missing expression"),
            Some(b'\\') => match self.rest.first() {
                Some(b'b') => self.assertion(Assertion::WordBoundary),
                Some(b'B') => self.assertion(Assertion::NoWordBoundary),
                Some(b'A') => self.assertion(Assertion::TextStart),
                Some(b'z') => self.assertion(Assertion::TextEnd),
                _ => Tree::Set(self.escape()?.0),
            },
            Some(byte) if !byte.is_ascii() => self.character(byte),
            Some(byte) => Tree::Set(self.folded(Set::of(&[byte]))),
            None => Tree::Empty,
        }))
    }

    /// The rest of a character of several bytes, which is one item.
    fn character(&mut self, first: u8) -> Tree {
        let mut bytes = vec![Tree::Set(Set::of(&[first]))];
        while let Some(byte) = self.rest.first().copied().filter(|byte| byte & 0xc0 == 0x80) {
            self.next();
            bytes.push(Tree::Set(Set::of(&[byte])));
        }
        Tree::Concat(bytes)
    }

    fn assertion(&mut self, assertion: Assertion) -> Tree {
        self.next();
        Tree::Assert(assertion)
    }

    fn folded(&self, set: Set) -> Set {
        if self.flags.ignore_case { set.fold() } else { set }
    }

    /// After `(`.
    fn group(&mut self) -> Result<Option<Tree>, &'static str> {
        let outer = self.flags;
        let mut number = None;
        if self.eat(b"?P<") || self.eat(b"?<") {
            let name = self.until(b'>').filter(|name| is_name(name)).ok_or("invalid group name")?;
            let name = String::from_utf8_lossy(name).into_owned();
            if self.names.iter().any(|known| known.as_ref() == Some(&name)) {
                return Err("duplicate group name");
            }
            number = Some(self.names.len());
            self.names.push(Some(name));
        } else if self.eat(b"?") {
            if self.set_flags()? == b')' {
                return Ok(None);
            }
        } else {
            number = Some(self.names.len());
            self.names.push(None);
        }
        let inner = self.alternation()?;
        if !self.eat(b")") {
            return Err("unclosed group");
        }
        self.flags = outer;
        Ok(Some(match number {
            Some(number) => Tree::Group(number, Box::new(inner)),
            None => inner,
        }))
    }

    /// After `(?`: the flags, and the `:` or `)` that ends them.
    fn set_flags(&mut self) -> Result<u8, &'static str> {
        let mut on = true;
        let mut any = false;
        loop {
            let flag = match self.next() {
                Some(end @ (b':' | b')')) if on || any => {
                    return if any || end == b':' { Ok(end) } else { Err("missing flag") };
                }
                Some(b'-') if on => {
                    (on, any) = (false, false);
                    continue;
                }
                Some(b'i') => &mut self.flags.ignore_case,
                Some(b'm') => &mut self.flags.multi_line,
                Some(b's') => &mut self.flags.dot_matches_newline,
                Some(b'U') => &mut self.flags.swap_greed,
                _ => return Err("unrecognized flag; there are i, m, s and U, and no look-around"),
            };
            *flag = on;
            any = true;
        }
    }

    /// After `\`: a set, and the byte where it is only one.
    fn escape(&mut self) -> Result<(Set, Option<u8>), &'static str> {
        let byte = match self.next().ok_or("incomplete escape sequence")? {
            name @ (b'd' | b'w' | b's') => return Ok((class(&[name]).unwrap_or_default(), None)),
            name @ (b'D' | b'W' | b'S') => {
                return Ok((class(&[name.to_ascii_lowercase()]).unwrap_or_default().not(), None));
            }
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'f' => 0x0c,
            b'v' => 0x0b,
            b'a' => 0x07,
            b'x' => {
                let digits = if self.eat(b"{") {
                    self.until(b'}').unwrap_or_default()
                } else {
                    let (digits, rest) = self.rest.split_at_checked(2).ok_or("incomplete escape sequence")?;
                    self.rest = rest;
                    digits
                };
                let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'));
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                byte.ok_or("invalid hexadecimal escape: two digits")?
            }
            byte if byte.is_ascii_punctuation() && !b"<>".contains(&byte) || byte == b' ' => byte,
            b'0'..=b'9' => return Err("backreferences are not supported"),
            _ => return Err("unrecognized escape sequence"),
        };
        Ok((self.folded(Set::of(&[byte])), Some(byte)))
    }

    /// After `[`.
    fn bracket(&mut self) -> Result<Set, &'static str> {
        const UNCLOSED: &str = "unclosed character class";
        const NOT_ASCII: &str = "a character class is of bytes, and this is not ASCII";
        let negated = self.eat(b"^");
        let mut set = Set::default();
        let mut first = true;
        loop {
            if self.rest.starts_with(b"&&") || self.rest.starts_with(b"~~") || self.rest.starts_with(b"--") {
                return Err("operations on classes are not supported");
            }
            let (item, from) = match self.next().ok_or(UNCLOSED)? {
                b']' if !first => break,
                b'[' if self.eat(b":") => {
                    let negated = self.eat(b"^");
                    let named = self.until(b':').and_then(class).filter(|_| self.eat(b"]"));
                    let named = named.ok_or("unrecognized class")?;
                    let named = self.folded(named);
                    (if negated { named.not() } else { named }, None)
                }
                b'[' => return Err("nested classes are not supported"),
                b'\\' => self.escape()?,
                byte if !byte.is_ascii() => return Err(NOT_ASCII),
                byte => (Set::of(&[byte]), Some(byte)),
            };
            first = false;
            // A `-` at the end is one.
            let is_range = self.rest.starts_with(b"-") && !self.rest.starts_with(b"-]");
            if !is_range || self.rest.starts_with(b"--") {
                set = set.or(item);
                continue;
            }
            self.next();
            let to = match self.next().ok_or(UNCLOSED)? {
                b'\\' => self.escape()?.1,
                b'[' => None,
                byte if !byte.is_ascii() => return Err(NOT_ASCII),
                byte => Some(byte),
            };
            match (from, to) {
                (Some(from), Some(to)) if from <= to => set = set.or(Set::range(from, to)),
                _ => return Err("invalid range in a character class"),
            }
        }
        let set = self.folded(set);
        if set.is_empty() {
            return Err("empty character class");
        }
        Ok(if negated { set.not() } else { set })
    }
}

/// `n`, `n,` or `n,m`.
fn counts_of(text: &[u8]) -> Option<(u32, Option<u32>)> {
    let number = |digits: &[u8]| {
        let number = std::str::from_utf8(digits).ok()?.parse::<u32>().ok()?;
        (number <= MAX_REPEAT && digits.iter().all(u8::is_ascii_digit)).then_some(number)
    };
    let mut parts = text.splitn(2, |byte| *byte == b',');
    let min = number(parts.next()?)?;
    match parts.next() {
        None => Some((min, Some(min))),
        Some(b"") => Some((min, None)),
        Some(max) => number(max).filter(|max| *max >= min).map(|max| (min, Some(max))),
    }
}

fn is_name(name: &[u8]) -> bool {
    name.iter().all(|byte| is_word(*byte)) && name.first().is_some_and(|first| !first.is_ascii_digit())
}
