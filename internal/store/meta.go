package store

// Meta returns a fact about the installation, such as its tag, or NotFound.
func (tx *Tx) Meta(name string) (string, error) {
	value, err := one(tx, "installation fact", name, func(r row, s *string) error { return r.Scan(s) }, `SELECT value FROM meta WHERE name = $1`, name)
	if err != nil {
		return "", err
	}
	return *value, nil
}

// SetMeta stores a fact about the installation.
func (tx *Tx) SetMeta(name, value string) error {
	const query = `INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`
	_, err := tx.exec("set "+name, query, name, value)
	return err
}
