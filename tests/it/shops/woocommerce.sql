-- WooCommerce: wp_users and wp_usermeta, as WordPress's wp-admin/includes/schema.php declares them.
-- The hashes are of "correct horse battery staple": phpass, and what WordPress 6.8 writes.
CREATE TABLE wp_users (
    ID BIGINT(20) UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    user_login VARCHAR(60) NOT NULL DEFAULT '',
    user_pass VARCHAR(255) NOT NULL DEFAULT '',
    user_nicename VARCHAR(50) NOT NULL DEFAULT '',
    user_email VARCHAR(100) NOT NULL DEFAULT '',
    user_url VARCHAR(100) NOT NULL DEFAULT '',
    user_status INT(11) NOT NULL DEFAULT 0,
    display_name VARCHAR(250) NOT NULL DEFAULT ''
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_520_ci;

CREATE TABLE wp_usermeta (
    umeta_id BIGINT(20) UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    user_id BIGINT(20) UNSIGNED NOT NULL DEFAULT 0,
    meta_key VARCHAR(255) DEFAULT NULL,
    meta_value LONGTEXT,
    KEY (user_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_520_ci;

INSERT INTO wp_users (ID, user_login, user_pass, user_email) VALUES
    (7, 'ada', '$P$BabcdEFGHOLnSzOk6FdLpLPq203S/E.', 'ada@woo.example'),
    (8, 'bob', '$wp$2y$10$abcdefghijklmnopqrstuup5lr9X5y2ivXNqX3saHIQSKQF0rdIHq', 'bob@woo.example');
INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES
    (7, 'first_name', '阿达 😀'),
    (7, 'last_name', 'Lovelace'),
    (7, 'wp_capabilities', 'a:1:{s:8:"customer";b:1;}'),
    (8, 'first_name', '');
