//! How events are declared: one table makes the enum, the numbers and the words of its kinds, and
//! hands the table on to the codec.
//!
//! The macro speaks of what `event` imports, and is used there alone.

/// Declares the enum, the numbers and the words of its kinds.
macro_rules! events {
    ($($(#[$doc:meta])* $number:literal $name:ident($body:ty) $word:literal;)+) => {
        /// Everything that can happen.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(tag = "kind", content = "body")]
        pub enum Event {
            $($(#[$doc])* $name($body),)+
        }

        impl Event {
            /// The kind's number: part of the stored format.
            pub const fn kind(&self) -> EventKind {
                match self { $(Self::$name(_) => EventKind($number),)+ }
            }
        }

        impl EventKind {
            /// Every kind this version knows.
            pub const KNOWN: &'static [Self] = &[$(Self($number)),+];

            /// The kind's name; a kind of a newer version has none here.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 { $($number => Some($word),)+ _ => None }
            }
        }

        /// Calls `$then!` with `(number name body)` for every kind: the codec's table.
        macro_rules! for_each_event {
            ($then:ident) => { $then! { $($number $name($body)),+ } };
        }
        pub(super) use for_each_event;
    };
}
