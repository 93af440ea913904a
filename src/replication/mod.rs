//! The way between nodes: bytes go in at one and come out at the others.
//!
//! What the bytes say is not known here. A link may lose, repeat and reorder them, and says when a
//! broker took them; that nothing is missing in the end is seen to by those who use it, with
//! sequences, vectors and fetches.
//!
//! ```text
//!   publisher --publish--> |      |                              |      | --Delivery--> inbox
//!                          | Link | ==> exchange ==> queue  ==>  | Link |
//!  reconciler --send-----> |      |     (a broker a region)      |      | <---Receipt--- (durable)
//! ```

pub mod amqp;
pub mod link;
pub mod memory;
pub mod relay;
pub mod topology;
