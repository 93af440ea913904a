-- Magento 2.4: customer_entity, as its db_schema.xml declares it.
CREATE TABLE customer_entity (
    entity_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    website_id SMALLINT UNSIGNED DEFAULT NULL,
    email VARCHAR(255) DEFAULT NULL,
    group_id SMALLINT UNSIGNED NOT NULL DEFAULT 0,
    increment_id VARCHAR(50) DEFAULT NULL,
    store_id SMALLINT UNSIGNED DEFAULT 0,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    is_active SMALLINT UNSIGNED NOT NULL DEFAULT 1,
    prefix VARCHAR(40) DEFAULT NULL,
    firstname VARCHAR(255) DEFAULT NULL,
    middlename VARCHAR(255) DEFAULT NULL,
    lastname VARCHAR(255) DEFAULT NULL,
    dob DATE DEFAULT NULL,
    password_hash VARCHAR(128) DEFAULT NULL,
    taxvat VARCHAR(50) DEFAULT NULL,
    UNIQUE KEY (email, website_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3;

SET @salt = 'xxxxxxxxMagento2Salt1234567890ab';
INSERT INTO customer_entity (email, firstname, lastname, is_active, password_hash) VALUES
    ('ada@magento.example', 'Adaé', 'O\'Brien "A" \\ B', 1,
        CONCAT(SHA2(CONCAT(@salt, 'the known password'), 256), ':', @salt, ':1')),
    ('bob@magento.example', 'Bób', NULL, 1,
        CONCAT(MD5(CONCAT(@salt, 'the known password')), ':', @salt, ':0')),
    ('off@magento.example', 'Off', 'Switched', 0,
        CONCAT(SHA2(CONCAT(@salt, 'the known password'), 256), ':', @salt, ':1')),
    ('new@magento.example', NULL, NULL, 1, NULL);
